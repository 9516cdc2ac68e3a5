"""Links in the documentation resolve, and its commands are valid."""

import re
import shlex
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from conftest import ROOT

from competition.cli.app import make_parser

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("folds/*.md"), *ROOT.glob("submissions/*.md")]
)
FLOW = "make data     make cv                                      make submit", ""  # a drawing
COMMAND = re.compile(r"(?:\.venv/bin/)?python -m competition (.+)")


def commands(page: Path) -> list[str]:
    """The lines of code blocks and the inline code, without trailing comments and without the `!` of notebooks."""
    text = page.read_text()
    blocks = "\n".join(re.findall(r"```(?:\w*)\n(.*?)```", text.replace(*FLOW), re.S))
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    lines = [*blocks.splitlines(), *inline]
    return [re.sub(r"^!|^time | {2,}#.*", "", line.strip()) for line in lines]


def commands_matching(pattern: str) -> list[tuple[str, str]]:
    """(page, command) for each command whose beginning matches."""
    return sorted({(page.name, line) for page in PAGES for line in commands(page) if re.match(pattern, line)})


def check_arguments(arguments: str) -> None:
    """Fail the test if the parser rejects the arguments."""
    with suppress(SystemExit) if "--help" in arguments else nullcontext():
        make_parser().parse_args(shlex.split(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), f"{target}#{anchor}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("page", "command"), commands_matching(r"(\w+=\S+ )?make [a-z]"))
def test_make_commands_have_known_targets_and_variables(page, command):
    target = command.split("make ", 1)[1]
    makefile = (ROOT / "Makefile").read_text()
    variables = re.findall(r"\b([A-Z]+)=", target)
    assert all(f"$({name})" in makefile for name in variables), variables
    result = subprocess.run(
        ["make", "--dry-run", "--always-make", *shlex.split(target)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    if variables:  # a target without variables may need more
        for arguments in COMMAND.findall(result.stdout.replace("\\\n", " ")):
            check_arguments(arguments)


@pytest.mark.parametrize(("page", "command"), commands_matching(r"(\.venv/bin/)?python -m competition \w"))
def test_commands_are_valid(page, command):
    check_arguments(COMMAND.match(command)[1])


@pytest.mark.parametrize(("page", "command"), commands_matching(r".*python -m pytest "))
def test_tests_named_in_the_docs_exist(page, command):
    path, name = re.search(r"(tests/[\w/]+\.py)(?:.* -k \"?(\w+))?", command).groups()
    assert name is None or re.search(rf"def test_\w*{name}", (ROOT / path).read_text())
