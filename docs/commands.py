"""Generate docs/reference/commands.md from the command line and the Makefile: `python -m docs.commands`."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import typer

from competition.cli.app import app

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "commands.md"
COMMON = 4  # options that at least so many commands have are described once
INTRODUCTION = """\
# Commands

Every command is both a target of `make` and a subcommand of `foldblend`, except for the [make-only
targets](#make-only-targets). The option `--models "knn svm"` of `foldblend cv` is the variable `MODELS="knn svm"` of
`make cv`, and the environment variable `FOLDBLEND_MODELS`; a flag such as `--yes` is `YES=1`, and the arguments
`FILE...` of `predict` are the variable `FILES=`. `foldblend COMMAND --help` prints the same texts. The exit status
is 0 after success, 1 if a file cannot be read or written, 2 after any other error that you can fix, and 130 after
Ctrl-C.

This page is generated from the code by `.venv/bin/python -m docs.commands`.
"""


class Option(NamedTuple):
    """An option or argument of a command."""

    usage: str
    text: str


class Command(NamedTuple):
    """A command: its help text and its options."""

    paragraphs: list[str]
    options: list[Option]


def read_commands() -> dict[str, Command]:
    """The commands by name."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    read = {}
    for name, command in commands.items():
        context = typer.Context(command)
        records = [parameter.get_help_record(context) for parameter in command.params]
        paragraphs = [" ".join(paragraph.split()) for paragraph in command.help.split("\n\n")]
        # Typer adds the type of an argument, e.g. `FILE... <list[Path]>`.
        options = [Option(usage.split(" <")[0], " ".join(text.split())) for usage, text in records]
        read[name] = Command(paragraphs, options)
    return read


def read_targets() -> dict[str, dict[str, str]]:
    """The targets of the Makefile under each of its headings, with their descriptions."""
    sections: dict[str, dict[str, str]] = {"": {}}
    for line in (ROOT / "Makefile").read_text().splitlines():
        if heading := re.match(r"## (.+)", line):
            sections[heading[1]] = {}
        elif target := re.match(r"([a-z-]+):.*?## (.+)", line):
            sections[list(sections)[-1]][target[1]] = target[2]
    return sections


def write_page() -> str:
    """The text of the page."""
    commands, sections = read_commands(), read_targets()
    counts = Counter(option for command in commands.values() for option in command.options)
    common = [option for option, count in counts.items() if count >= COMMON]
    lines = [INTRODUCTION]
    for title, targets in sections.items():
        if links := [f"[`{target}`](#{target})" for target in targets if target in commands]:
            lines.append(f"- {title}: {', '.join(links)}")
    lines += ["", "## Common options", "", *_table("option", common)]
    for target in (target for targets in sections.values() for target in targets if target in commands):
        lines += ["", *_describe(target, commands[target], common)]
    others = [
        Option(target, purpose)
        for targets in sections.values()
        for target, purpose in targets.items()
        if target not in commands
    ]
    lines += ["", "## Make-only targets", "", *_table("target", others)]
    return "\n".join(lines) + "\n"


def _describe(name: str, command: Command, common: list[Option]) -> list[str]:
    """The section of a command."""
    lines = [f"## {name}"]
    for paragraph in command.paragraphs:
        lines += ["", paragraph]
    if own := [option for option in command.options if option not in common]:
        lines += ["", *_table("option", own)]
    if shared := [option.usage.split()[0] for option in command.options if option in common]:
        lines += ["", f"[Common options](#common-options): {', '.join(f'`{name}`' for name in shared)}"]
    return lines


def _table(title: str, options: Iterable[Option]) -> list[str]:
    rows = [f"| `{option.usage}` | {option.text.replace('|', chr(92) + '|')} |" for option in options]
    return [f"| {title} | meaning |", "| --- | --- |", *rows]


if __name__ == "__main__":
    PAGE.write_text(write_page())
