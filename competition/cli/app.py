"""The command line: wiring only."""

import argparse
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from competition.cli.improve import dashboard, tune
from competition.cli.measure import doctor, safety
from competition.cli.scale import worker
from competition.cli.session import USUAL
from competition.cli.share import export, export_onnx, take_in
from competition.cli.show import demo, report, tensorboard
from competition.cli.submissions import grade, predict, reproduce, score, upload
from competition.cli.train import cv, data, submit
from competition.errors import Problem

Command = Callable[[argparse.Namespace], None]

PROGRAM = "python -m competition"
ABOUT = "From a table of pixels to a submission: cross-validate models, blend them, write submission.csv."


def main(
    arguments: Sequence[str] | None = None,
    commands: Sequence[tuple[Command, str]] = (),
    program: str = PROGRAM,
    about: str = ABOUT,
) -> int:
    """Run one command; a Problem ends as one line and status 2."""
    signal.signal(signal.SIGTERM, _stop)
    options = parser(commands or COMMANDS, program, about).parse_args(arguments)
    try:
        options.command(options)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _folder(text: str) -> str:
    """A competition's name, which is one folder's: with a path, folds and submissions would lie somewhere else."""
    name = text.rstrip("/")  # which a shell that completes names leaves
    if name in ("", ".", "..") or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a folder under data/")
    return name


def _natural(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0")
    return int(text)


def _duration(text: str) -> float:
    """Seconds, from such as 20m or 1h30m."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, rest = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    seconds = 3600 * hours + 60 * minutes + rest
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text} is no duration; write such as 20m or 1h30m")
    return float(seconds)


def _stop(*what: Any) -> None:
    """End as on Ctrl-C."""
    raise KeyboardInterrupt


OPTIONS: dict[str, dict[str, Any]] = {
    "competition": {
        "type": _folder,
        "default": "digits",
        "metavar": "NAME",
        "help": "the folder under data/; default: %(default)s",
    },
    "models": {
        "nargs": "+",
        "metavar": "MEMBER",
        "help": "models, with .SEED for further networks of a kind and :NAME for another recipe, or all; "
        f"default: {' '.join(USUAL)}",
    },
    "folds": {
        "type": _natural,
        "default": 5,
        "metavar": "N",
        "help": "parts that take turns at being held out; default: %(default)s",
    },
    "seed": {
        "type": _natural,
        "default": 0,
        "metavar": "N",
        "help": "of the split; each split keeps its own folder; default: %(default)s",
    },
    "jobs": {"type": _natural, "metavar": "N", "help": "workers of one thread; default and most: one a core"},
    "budget": {
        "type": _duration,
        "metavar": "TIME",
        "help": "such as 20m: no model is begun that cannot be finished, and then it ends; default: no limit",
    },
    "blend": {
        "default": "auto",
        "metavar": "HOW",
        "help": "auto (the mean, unless something beats it beyond noise), mean, geometric, tempered, convex, "
        "hill-climbing or stacked; default: %(default)s",
    },
    "cluster": {
        "metavar": "ADDRESS",
        "help": "of a Dask scheduler, such as tcp://host:8786, whose workers train; default: this machine's cores",
    },
    "tasks": {"type": _natural, "default": 200, "metavar": "N", "help": "how many; default: %(default)s"},
    "asleep": {"type": _duration, "default": 1.0, "metavar": "TIME", "help": "how long each sleeps; default: 1s"},
    "trials": {
        "type": _natural,
        "default": 30,
        "metavar": "N",
        "help": "of each model in all, those of earlier runs counted; default: %(default)s",
    },
    "storage": {
        "metavar": "URL",
        "help": "any that Optuna takes, such as postgresql+psycopg://HOST/NAME; default: folds/COMPETITION/studies.db",
    },
    "file": {"type": Path, "metavar": "FILE", "help": "a submission; default: the competition's latest"},
    "name": {"metavar": "NAME", "help": "what the member is to be called, behind an @"},
    "oof": {"type": Path, "required": True, "metavar": "FILE", "help": "a CSV (id, fold, a column a class) or .npy"},
    "test": {"type": Path, "required": True, "metavar": "FILE", "help": "a CSV (id, a column a class) or .npy"},
    "split": {"type": Path, "metavar": "FILE", "help": "where --oof does not tell it: the split.csv of its training"},
    "number": {"type": _natural, "metavar": "N", "help": "of the submission; default: the latest"},
    "wait": {
        "type": _duration,
        "default": 300.0,
        "metavar": "TIME",
        "help": "how long to wait for the score, such as 2m; default: 5m",
    },
    "value": {"type": float, "required": True, "metavar": "SCORE", "help": "the leaderboard's, such as 0.997"},
    "files": {"nargs": "+", "type": Path, "metavar": "FILE", "help": "a picture, a folder of them, or a CSV of pixels"},
    "port": {"type": _natural, "default": 8000, "metavar": "N", "help": "of the page; default: %(default)s"},
    "json": {"action": "store_true", "help": "all probabilities, as JSON"},
    "full": {"action": "store_true", "help": "race recipes to 99.5 %% on a fold, an hour or more"},
}
POSITIONAL = ("files", "name")
COMMANDS: tuple[tuple[Command, str], ...] = (
    (data, "competition"),
    (doctor, "competition models folds seed jobs"),
    (cv, "competition models folds seed jobs budget cluster"),
    (submit, "competition models folds seed jobs budget cluster blend"),
    (report, "competition models folds seed blend"),
    (tensorboard, "competition folds seed port"),
    (tune, "competition models folds seed jobs budget cluster trials storage"),
    (dashboard, "competition storage"),
    (grade, "competition file"),
    (predict, "files competition number jobs json"),
    (demo, "competition number port"),
    (reproduce, "competition number jobs cluster"),
    (take_in, "competition folds seed name oof test split"),
    (export, "competition models folds seed"),
    (export_onnx, "competition number"),
    (upload, "competition number wait"),
    (score, "competition number value"),
    (safety, "competition models folds seed"),
    (worker, "cluster jobs"),
)


def parser(
    available: Sequence[tuple[Command, str]] = COMMANDS, program: str = PROGRAM, about: str = ABOUT
) -> argparse.ArgumentParser:
    """The parser of a program with these commands."""
    whole = argparse.ArgumentParser(
        prog=program,
        description=about,
        epilog="`make help` lists the same as verbs of Make, with a set-up that they do by themselves.",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command, names in available:
        about = str(command.__doc__)
        # Python keeps the word import for itself, and knows no dashes in names.
        verb = "import" if command is take_in else command.__name__.replace("_", "-")
        one = commands.add_parser(verb, help=about, description=about)
        one.set_defaults(command=command)
        for name in names.split():
            one.add_argument(name if name in POSITIONAL else f"--{name}", **OPTIONS[name])
    return whole
