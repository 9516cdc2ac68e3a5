"""A measured figure is told in one place of the documentation; other pages link to it and say the same."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import ROOT
from test_docs import BLOCK, PAGES, anchors, blocks

SCORES = ROOT / "docs" / "experiments" / "scores.md"
LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
# An accuracy, a difference of accuracies, a time or a size.
FIGURE = re.compile(
    r"\b\d{2}\.\d{3}(?: ± \d\.\d{3})?\b|\b0\.\d{3} ± 0\.\d{3}(?= points)|"
    r"\b\d+ min \d+ s\b|\b\d+:\d\d\b|\b\d\.\d+ GB\b"
)
REPEATED = {
    "99.555": "a member's and, by chance, a blend's",
    "99.610": "a member's on another split and, by chance, a blend's",
    "1.5 GB": "a limit, which is not measured",
}


def prose(page: Path) -> str:
    """The text of a page without code blocks."""
    return re.sub(r"\s+", " ", BLOCK.sub("", page.read_text()))


LINKED = sorted(
    {
        (str(page.relative_to(ROOT)), text, target, anchor)
        for page in PAGES
        for text, target, anchor in LINK.findall(prose(page))
        if FIGURE.search(text)
    }
)


def test_figures_are_linked():
    assert len(LINKED) >= 25
    assert len({anchor for *_, anchor in LINKED}) >= 10


@pytest.mark.parametrize(("page", "text", "target", "anchor"), LINKED)
def test_a_linked_figure_is_that_of_the_place_it_links_to(page, text, target, anchor):
    path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
    place = anchors(path)[anchor] if anchor else path.read_text()
    for figure in FIGURE.findall(text):
        assert figure in LINK.sub("", place), f"{figure} is not at {target}#{anchor}"


def test_a_figure_stands_on_one_page():
    pages = defaultdict(set)
    for page in PAGES:
        for figure in FIGURE.findall(LINK.sub("", prose(page))):
            pages[figure.split(" ±")[0]].add(str(page.relative_to(ROOT)))
    assert len(pages) >= 30
    assert {figure: names for figure, names in pages.items() if len(names) > 1 and figure not in REPEATED} == {}


def test_figures_in_the_output_shown_first_are_those_of_the_scores():
    figures = [figure for block in blocks(ROOT / "README.md", "text") for figure in FIGURE.findall(block)]
    scores = prose(SCORES)
    assert len(figures) >= 5
    assert [figure for figure in figures if figure not in scores] == []
