"""The error that the user can fix, and helpers for its messages."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

# Of the options that a typed command may omit.
DEFAULTS = {"competition": "digits", "folds": 5, "seed": 0, "blend": "auto", "refit": 0}


class UserError(Exception):
    """Invalid input or state that the user can fix; one line: where, what is wrong and the command that fixes it."""

    exit_status = 2


class DiskError(UserError):
    """A file or folder that the system cannot read or write; results that were saved before are kept."""

    exit_status = 1


def first_line(message: object) -> str:
    """The first line of a message that is not empty; for an exception without a message, its type."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return lines[0] if lines else type(message).__name__ if isinstance(message, BaseException) else ""


def shorten_list(names: Iterable[object], limit: int) -> str:
    """Join the first `limit` names by commas, with an ellipsis if there are more."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:limit]) + (" ..." if len(texts) > limit else "")


def command(name: str, /, **options: object) -> str:
    """How the user runs a command: `make cv MODELS=quick` under make, else `foldblend cv --models quick`.

    Options with their default values are omitted.
    """
    program = "make" if runs_under_make() else _program()
    chosen = (option(key, value) for key, value in options.items() if DEFAULTS.get(key) != value)
    return " ".join([program, name, *chosen])


def option(name: str, value: object = "") -> str:
    """How the user sets an option: `FOLDS=2` under make, else `--folds 2`; without a value only its name."""
    quoted = shlex.quote(str(value)) if value != "" else ""
    if runs_under_make():
        return f"{name.upper()}={quoted}" if quoted else name.upper()
    return f"--{name} {quoted}".rstrip()


def move_away(path: Path) -> str:
    """The command that renames a file or folder, to keep it out of the way."""
    return shlex.join(["mv", str(path), f"{path}.old"])


def flag(name: str) -> str:
    """How the user sets a flag: `YES=1` under make, else `--yes`."""
    return f"{option(name)}=1" if runs_under_make() else option(name)


def missing_extra(library: str, extra: str) -> UserError:
    """The error that an optional library is not installed."""
    return UserError(f"{library} is not installed; run: {interpreter()} -m pip install 'foldblend[{extra}]'")


def interpreter() -> str:
    """The running interpreter, relative to the current folder if it is there."""
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def runs_under_make() -> bool:
    """Whether the user has typed a target of the Makefile."""
    return "FOLDBLEND_MAKE" in os.environ


def _program() -> str:
    return "foldblend" if Path(sys.argv[0]).stem == "foldblend" else f"{interpreter()} -m competition"
