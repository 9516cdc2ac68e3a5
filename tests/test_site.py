"""The site has all pages of the documentation, and their links lead to pages or to the repository."""

import re
import tomllib
from pathlib import Path

from conftest import ROOT

from docs.site import collect, rewrite_links, site_pages

URL = "https://example.org/blob/main"
PAGES = {source: page for source, page in site_pages().items() if page.suffix == ".md"}


def nav_pages(entries: list[dict]) -> list[str]:
    """The pages in the navigation, in order."""
    values = [value for entry in entries for value in entry.values()]
    return [page for value in values for page in (nav_pages(value) if isinstance(value, list) else [value])]


def test_every_page_is_in_the_navigation_once():
    nav = nav_pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    assert sorted(nav) == sorted(map(str, PAGES.values()))


def test_the_contents_link_to_every_page():
    text = (ROOT / "docs" / "README.md").read_text()
    linked = {Path("docs", target) for target in re.findall(r"\]\(([\w/-]+\.md)", text)}
    assert {source for source in PAGES if source.parts[0] == "docs"} - linked == {Path("docs/README.md")}


def test_links_to_pages_stay_and_links_to_source_files_lead_to_the_repository():
    page, pages = Path("docs/design/layout.md"), site_pages()
    text = "[split](../../competition/crossval/folds.py#L1), [start](../../README.md#install), ![r](../report.png)"
    assert rewrite_links(text, page, pages, URL) == (
        f"[split]({URL}/competition/crossval/folds.py#L1), [start](../index.md#install), ![r](../report.png)"
    )
    assert rewrite_links(text, page, pages).startswith("split, [start]")


def test_links_on_the_page_outside_links_and_code_are_unchanged():
    text = "[here](#flow) [there](https://example.org/a.md)\n\n```sh\nmake [x](y.md)\n```\n"
    assert rewrite_links(text, Path("README.md"), site_pages(), URL) == text


def test_collected_pages_link_only_to_collected_files(tmp_path):
    collect(tmp_path, URL)
    for path in tmp_path.rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]*)", text):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"
    assert "mermaid" in (tmp_path / "index.md").read_text()
