"""Links in the documentation resolve, its commands are valid, and what it quotes from the code is there."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import typer
from conftest import ROOT
from packaging.requirements import Requirement

from benchmarks.__main__ import app as benchmarks
from competition.cli.app import app
from competition.cli.run import COLUMN_MODELS, MANY_CLASSES_MODELS, MANY_GLYPHS_MODELS, OTHER_MODELS, PRETRAINED_MODELS
from competition.data.config import Config
from competition.models.registry import available_models
from docs import commands as command_page

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("folds/*.md"), *ROOT.glob("submissions/*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUBCOMMANDS = typer.main.get_command(app).commands
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LANGUAGES = {"sh", "text", "python", "toml", "mermaid"}
HEREDOC = re.compile(r"<<'(\w+)'\n(.*?)^\1$", re.M | re.S)
SERVERS = {"demo", "tensorboard", "dashboard", "scheduler", "worker"}  # these run until Ctrl-C
FIRST_PAGES = ("first-submission.md", "results.md")  # their commands make what others use
# Other programs in the docs, with what is checked of them besides their presence here.
PROGRAMS = (
    r"make \S.*",
    r"foldblend \S.*",
    r"python -m pytest .*",
    r"python -m pip install -r (?P<lock>\S+)",
    r"python -m pip install (?P<requirement>\S+)",
    r"pip install '?\.(\[(?P<extras>[\w,]+)\])?'?",
    r"python -m kaggle auth login",
    r"python -m dask worker tcp://127.0.0.1:8786 --nworkers 50 --nthreads 1 --memory-limit 0",
    r"python -m benchmarks (?P<benchmark>\S+)( .*)?",
    r"python -",
    r"apt install [\w -]+",
)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in this language."""
    return [code for name, code in BLOCK.findall(page.read_text()) if name == language]


def shell_lines(page: Path) -> list[str]:
    """The commands in the blocks of a page, without comments, the `!` of notebooks and variables of the environment."""
    code = HEREDOC.sub("", "\n".join(blocks(page, "sh"))).replace("\\\n", " ")
    lines = [re.sub(r" +#.*|^!|^time ", "", line.strip()) for line in code.splitlines()]
    return [re.sub(r"^([A-Z_]+=\S+ )*(\.venv/bin/)?", "", line) for line in lines if line]


def inline_commands(page: Path) -> list[str]:
    """The commands in the inline code of a page."""
    text = BLOCK.sub("", page.read_text())
    code = (re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", text))
    return [line.removeprefix(".venv/bin/") for line in code]


def commands_matching(pattern: str) -> list[tuple[str, str]]:
    """(page, command) for each command whose beginning matches."""
    return sorted(
        {
            (str(page.relative_to(ROOT)), line)
            for page in PAGES
            for line in shell_lines(page) + inline_commands(page)
            if re.match(pattern, line)
        }
    )


def parse_arguments(name: str, arguments: list[str]) -> None:
    """Fail the test if the command rejects the arguments."""
    with suppress(typer.Exit):  # after --help
        SUBCOMMANDS[name].make_context(name, list(arguments))


def as_options(target: str, variables: dict[str, str]) -> list[str]:
    """The options that variables of make set."""
    flags = {option.name for option in SUBCOMMANDS[target].params if getattr(option, "is_flag", False)}
    return [
        text
        for name, value in variables.items()
        for text in ([f"--{name.lower()}"] if name.lower() in flags else [f"--{name.lower()}", value])
    ]


def split_make_command(command: str) -> tuple[str, list[str], dict[str, str]]:
    """The target, the files and the other variables of a make command."""
    words = shlex.split(command.removeprefix("make "))
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    (target,) = (word for word in words if "=" not in word)
    return target, shlex.split(variables.pop("FILES", "")), variables


@cache
def anchors(page: Path) -> dict[str, str]:
    """What each anchor of a page leads to: a section, named as on GitHub, or the line with the anchor."""
    # In code, a line that begins with # is no heading.
    text = BLOCK.sub(lambda match: match[0].replace("\n#", "\n #"), page.read_text())
    lines = re.findall(r'^(.*<a id="([\w-]+)"></a>.*)$', text, re.M)
    sections = re.findall(r"^#+ (.*)\n((?:(?!#+ ).*\n?)*)", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"): body for title, body in sections}
    return slugs | {name: line for line, name in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", BLOCK.sub("", page.read_text())):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_have_a_known_language_and_python_compiles(page):
    text = page.read_text()
    assert len(re.findall(r"^```", text, re.M)) == 2 * len(BLOCK.findall(text)), "a block is not closed"
    assert {language for language, _ in BLOCK.findall(text)} <= LANGUAGES
    code = "\n".join(blocks(page, "sh"))
    for source in [*blocks(page, "python"), *(body for _, body in HEREDOC.findall(code))]:
        ast.parse(source)


@pytest.mark.parametrize(
    ("page", "command"), sorted({(str(page.relative_to(ROOT)), line) for page in PAGES for line in shell_lines(page)})
)
def test_every_line_of_a_shell_block_is_a_known_program(page, command):
    match = next(filter(None, (re.fullmatch(pattern, command) for pattern in PROGRAMS)), None)
    assert match, "not checked by any test; add it to PROGRAMS"
    named = match.groupdict()
    if lock := named.get("lock"):
        assert (ROOT / lock).exists()
    if extras := named.get("extras"):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    if benchmark := named.get("benchmark"):
        assert benchmark in typer.main.get_command(benchmarks).commands
    if quoted := named.get("requirement"):
        requirement = Requirement(shlex.split(quoted)[0])
        lock = "".join(path.read_text() for path in ROOT.glob("requirements*.txt"))
        assert f"{requirement.name}{requirement.specifier} " in lock, "not the locked version"


@pytest.mark.parametrize(("page", "command"), commands_matching(r"(\w+=\S+ )?make [a-z]"))
def test_make_commands_have_known_targets_and_variables(page, command):
    arguments = command.split("make ", 1)[1]
    result = subprocess.run(
        ["make", "--dry-run", "--always-make", *shlex.split(arguments)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    target, files, variables = split_make_command(arguments)
    if variables and target in SUBCOMMANDS:  # a target without variables may need more
        parse_arguments(target, [*files, *as_options(target, variables)])


@pytest.mark.parametrize("path", [*DOCS.rglob("*.svg"), *DOCS.rglob("*.ipynb")], ids=str)
def test_no_recorded_output_has_a_path_of_the_machine_that_made_it(path):
    assert not re.search(r"(?<![\w.])/[^\s\"<>]*\.venv/bin|/home/\w|/root/", path.read_text())


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


@pytest.mark.parametrize(("page", "command"), commands_matching(r"foldblend [a-z]"))
def test_commands_are_valid(page, command):
    name, *arguments = shlex.split(command.removeprefix("foldblend "))
    parse_arguments(name, arguments)


@pytest.mark.parametrize(("page", "command"), commands_matching(r"python -m pytest (?!-m \"\")"))
def test_tests_named_in_the_docs_exist(page, command):
    path, name = re.search(r"(tests/[\w/]+\.py)(?:.* -k \"?(\w+))?", command).groups()
    assert name is None or re.search(rf"def test_\w*{name}", (ROOT / path).read_text())


def test_the_page_of_commands_is_what_the_code_generates():
    assert command_page.PAGE.read_text() == command_page.write_page(), "run: .venv/bin/python -m docs.commands"


def test_the_keys_of_competition_toml_are_those_of_the_code():
    (example,) = blocks(DOCS / "reference" / "competition-toml.md", "toml")
    assert set(tomllib.loads(example)) == {field.name for field in fields(Config)}


def test_the_page_of_models_lists_all_models_and_the_defaults():
    page = (DOCS / "reference" / "models.md").read_text()
    assert {name for name in available_models() if f"`{name}`" not in page} == set()
    for models in (MANY_GLYPHS_MODELS, MANY_CLASSES_MODELS, OTHER_MODELS, PRETRAINED_MODELS, COLUMN_MODELS):
        assert f"`{' '.join(models)}`" in page


def test_the_guide_to_installation_lists_the_extras():
    page = (DOCS / "guide" / "install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(PROJECT["optional-dependencies"])


def messages() -> list[re.Pattern]:
    """A pattern for each text in the package and each error in the Makefile, into which anything may be inserted."""
    patterns = []
    for path in (ROOT / "competition").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [re.escape(node.value)]
            else:
                continue
            if len("".join(parts).replace(".*", "")) >= 20:
                patterns.append(re.compile("".join(parts)))
    for text in re.findall(r'echo "error: (.*?)" >&2', (ROOT / "Makefile").read_text()):
        parts = re.split(r"\$\$\w+|\$\$\(.*\)", text)
        patterns.append(re.compile(".*".join(map(re.escape, parts))))
    return patterns


def test_errors_quoted_in_the_docs_are_those_of_the_code():
    quoted = re.findall(r"^### `(.*)`$", (DOCS / "guide" / "troubleshooting.md").read_text(), re.M)
    patterns = messages()
    assert len(quoted) >= 10
    assert [message for message in quoted if not any(pattern.fullmatch(message) for pattern in patterns)] == []


@pytest.mark.integration
@pytest.mark.slow
def test_the_commands_for_small_digits_and_the_python_code_run(tmp_path, command):
    done = set()
    for page in sorted(PAGES, key=lambda page: (page.name not in FIRST_PAGES, str(page))):
        for line in shell_lines(page) + inline_commands(page):
            if "digits8" not in line or not re.match("make |foldblend ", line):
                continue
            if line.startswith("make "):
                target, files, variables = split_make_command(line)
                arguments = [target, *files, *as_options(target, variables)]
            else:
                arguments = shlex.split(line)[1:]
            if arguments[0] in SERVERS or tuple(arguments) in done:
                continue
            done.add(tuple(arguments))
            result = command(*arguments)
            assert result.returncode == 0, f"{page.name}: {line}\n{result.stdout}{result.stderr}"
    assert {arguments[0] for arguments in done} >= {"submit", "report", "grade", "doctor", "predict", "reproduce"}
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(DOCS / "reference" / "python.md", "python")))
    result = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "my_submission.csv").exists()
