"""What the pages say can be done, can be done: links lead somewhere, and commands are understood."""

import re
import shlex
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from conftest import ROOT

from competition.cli.app import parser

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("folds/*.md"), *ROOT.glob("submissions/*.md")]
)
FLOW = "make data     make cv                                      make submit", ""  # a drawing
OURS = re.compile(r"(?:\.venv/bin/)?python -m competition (.+)")


def commands(page: Path) -> list[str]:
    """The lines of code blocks, and code inside of lines, without comments behind them and notebooks' marks before."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```(?:\w*)\n(.*?)```", text.replace(*FLOW), re.S))
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    lines = [*blocks.splitlines(), *inline]
    return [re.sub(r"^!|^time | {2,}#.*", "", line.strip()) for line in lines]


def all_of(start: str) -> list[tuple[str, str]]:
    found = {(page.name, one) for page in PAGES for one in commands(page) if re.match(start, one)}
    return sorted(found)


def understood(arguments: str) -> None:
    """Ends the test where the command line does not know what is asked."""
    with suppress(SystemExit) if "--help" in arguments else nullcontext():
        parser().parse_args(shlex.split(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, place in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not place or place in headings(there), f"{target}#{place}"


def headings(page: Path) -> set[str]:
    """The places in a page that a link may lead to, called as GitHub calls them."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("page", "command"), all_of(r"(\w+=\S+ )?make [a-z]"))
def test_verbs_are_known_with_their_variables(page, command):
    verb = command.split("make ", 1)[1]
    makefile = (ROOT / "Makefile").read_text()
    given = re.findall(r"\b([A-Z]+)=", verb)
    assert all(f"$({name})" in makefile for name in given), given
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", *shlex.split(verb)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr
    for arguments in OURS.findall(planned.stdout.replace("\\\n", " ")) if given else ():  # a verb alone may want more
        understood(arguments)


@pytest.mark.parametrize(("page", "command"), all_of(r"(\.venv/bin/)?python -m competition \w"))
def test_commands_are_understood(page, command):
    understood(OURS.match(command)[1])


@pytest.mark.parametrize(("page", "command"), all_of(r".*python -m pytest "))
def test_the_tests_that_are_named_are_there(page, command):
    path, wanted = re.search(r"(tests/[\w/]+\.py)(?:.* -k \"?(\w+))?", command).groups()
    assert wanted is None or re.search(rf"def test_\w*{wanted}", (ROOT / path).read_text())
