"""Links in the documentation resolve, and its commands are valid."""

import re
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import typer
from conftest import ROOT

from competition.cli.app import app

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("folds/*.md"), *ROOT.glob("submissions/*.md")]
)
FLOW = "make data     make cv                                      make submit", ""  # a drawing
COMMAND = re.compile(r"(?:\.venv/bin/)?foldblend (.+)")
SUBCOMMANDS = typer.main.get_command(app).commands


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


def parse_arguments(name: str, arguments: list[str]) -> None:
    """Fail the test if the command rejects the arguments."""
    with suppress(typer.Exit):  # after --help
        SUBCOMMANDS[name].make_context(name, list(arguments))


def as_options(target: str, variables: dict[str, str]) -> list[str]:
    """The options that variables of make set."""
    flags = {option.name for option in SUBCOMMANDS[target].params if option.is_flag}
    return [
        text
        for name, value in variables.items()
        for text in ([f"--{name.lower()}"] if name.lower() in flags else [f"--{name.lower()}", value])
    ]


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
    words = shlex.split(command.split("make ", 1)[1])
    result = subprocess.run(
        ["make", "--dry-run", "--always-make", *words], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    files = shlex.split(variables.pop("FILES", ""))
    (target,) = (word for word in words if "=" not in word)
    if variables and target in SUBCOMMANDS:  # a target without variables may need more
        parse_arguments(target, [*files, *as_options(target, variables)])


def test_targets_of_make_and_commands_are_the_same():
    makefile = (ROOT / "Makefile").read_text()
    assert {name for name in SUBCOMMANDS if not re.search(rf"^{name}: .*## ", makefile, re.M)} == set()
    commands = re.search(r"^commands = (.*?[^\\])$", makefile, re.M | re.S)[1].replace("\\", " ").split()
    assert {*commands, "predict"} == set(SUBCOMMANDS)


def test_each_option_is_a_variable_of_make():
    options = {option for command in SUBCOMMANDS.values() for option in command.params}
    variables = re.search(r"^variables = (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.M | re.S)[1].split()
    names = {option.name.upper() for option in options if option.param_type_name == "option"} - {"HELP"}
    assert names == set(variables) - {"\\", "FULL", "SLEEP", "TASKS"}  # these are options of benchmarks
    assert {option.envvar for option in options if option.envvar} == {f"FOLDBLEND_{name}" for name in names}


@pytest.mark.parametrize(("page", "command"), commands_matching(r"(\.venv/bin/)?foldblend \w"))
def test_commands_are_valid(page, command):
    name, *arguments = shlex.split(COMMAND.match(command)[1])
    parse_arguments(name, arguments)


@pytest.mark.parametrize(("page", "command"), commands_matching(r".*python -m pytest "))
def test_tests_named_in_the_docs_exist(page, command):
    path, name = re.search(r"(tests/[\w/]+\.py)(?:.* -k \"?(\w+))?", command).groups()
    assert name is None or re.search(rf"def test_\w*{name}", (ROOT / path).read_text())
