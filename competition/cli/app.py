"""The parser of the command line, made from the signatures of the commands."""

import argparse
import inspect
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from competition.cli.check import doctor, safety
from competition.cli.cluster import worker
from competition.cli.exchange import export, export_onnx, import_predictions
from competition.cli.run import DEFAULT_MODELS
from competition.cli.submissions import grade, predict, reproduce, score, upload
from competition.cli.train import cv, data, submit
from competition.cli.tune import dashboard, tune
from competition.cli.views import demo, report, tensorboard
from competition.errors import UserError

Command = Callable[..., None]  # its parameters are keys of OPTIONS, its docstring is the help text

PROGRAM = "python -m competition"
DESCRIPTION = "Cross-validate models on images in CSV files or folders, blend them, and write submission.csv."
EPILOG = "`make help` lists the same commands as targets, which also install what they need."


def main(
    arguments: Sequence[str] | None = None,
    commands: Sequence[Command] = (),
    program: str = PROGRAM,
    description: str = DESCRIPTION,
) -> int:
    """Run one command; return its exit status, which is 2 after a `UserError`."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = vars(make_parser(commands or COMMANDS, program, description).parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; finished work is kept, run the same command again to continue", file=sys.stderr)
        return 130
    return 0


def _interrupt(signum: int, frame: object) -> None:
    """Stop as on Ctrl-C."""
    raise KeyboardInterrupt


def parse_competition(text: str) -> str:
    """The name of a competition; a path would put folds and submissions elsewhere."""
    name = text.rstrip("/")  # added by the completion of a shell
    if name in ("", ".", "..") or "/" in name:
        raise argparse.ArgumentTypeError(f"expected the name of a folder in data/, got {text!r}")
    return name


def parse_integer(text: str) -> int:
    """A non-negative integer."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {text}")
    return int(text)


def parse_duration(text: str) -> float:
    """Seconds from e.g. 20m or 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    seconds = 3600 * hours + 60 * minutes + rest
    if not seconds:
        raise argparse.ArgumentTypeError(f"invalid duration {text!r}; use e.g. 20m or 1h30m")
    return float(seconds)


OPTIONS: dict[str, dict[str, Any]] = {
    "competition": {
        "type": parse_competition,
        "default": "digits",
        "metavar": "NAME",
        "help": "Name of the competition's folder in data/ (default: %(default)s).",
    },
    "models": {
        "nargs": "+",
        "metavar": "MEMBER",
        "help": "Models to use, or `all`. MODEL.SEED is the same network with another seed, MODEL:NAME a variant with "
        f"another recipe (default: {' '.join(DEFAULT_MODELS)}).",
    },
    "folds": {"type": parse_integer, "default": 5, "metavar": "N", "help": "Number of folds (default: %(default)s)."},
    "seed": {
        "type": parse_integer,
        "default": 0,
        "metavar": "N",
        "help": "Seed of the split; each split has its own folder (default: %(default)s).",
    },
    "jobs": {
        "type": parse_integer,
        "metavar": "N",
        "help": "Number of single-threaded workers (default and maximum: number of cores).",
    },
    "budget": {
        "type": parse_duration,
        "metavar": "TIME",
        "help": "Time limit, e.g. 20m. Models that cannot be completed in time are not started (default: none).",
    },
    "blend": {
        "default": "auto",
        "metavar": "BLENDER",
        "help": "How to blend: mean, geometric, tempered, convex, hill-climbing, stacked, or auto, which is the mean "
        "unless another is significantly better (default: %(default)s).",
    },
    "cluster": {
        "metavar": "ADDRESS",
        "help": "Address of a Dask scheduler whose workers train, e.g. tcp://host:8786 (default: this machine).",
    },
    "tasks": {"type": parse_integer, "default": 200, "metavar": "N", "help": "Number of tasks (default: %(default)s)."},
    "sleep": {
        "type": parse_duration,
        "default": 1.0,
        "metavar": "TIME",
        "help": "Duration of each task's sleep (default: 1s).",
    },
    "trials": {
        "type": parse_integer,
        "default": 30,
        "metavar": "N",
        "help": "Number of trials per model, including those of earlier runs (default: %(default)s).",
    },
    "storage": {
        "metavar": "URL",
        "help": "Optuna storage, e.g. postgresql+psycopg://HOST/NAME (default: folds/COMPETITION/studies.db).",
    },
    "file": {"type": Path, "metavar": "FILE", "help": "Submission to evaluate (default: the latest one)."},
    "name": {"metavar": "NAME", "help": "Name of the imported member; it is used as @NAME."},
    "oof": {
        "type": Path,
        "required": True,
        "metavar": "FILE",
        "help": "Out-of-fold probabilities: CSV with columns id, fold and one per class, or .npy.",
    },
    "test": {
        "type": Path,
        "required": True,
        "metavar": "FILE",
        "help": "Test probabilities: CSV with columns id and one per class, or .npy.",
    },
    "split": {
        "type": Path,
        "metavar": "FILE",
        "help": "Split that the model was trained on, as split.csv; needed if --oof has no column fold.",
    },
    "number": {"type": parse_integer, "metavar": "N", "help": "Number of the submission (default: the latest one)."},
    "wait": {
        "type": parse_duration,
        "default": 300.0,
        "metavar": "TIME",
        "help": "How long to wait for the score, e.g. 2m (default: 5m).",
    },
    "value": {"type": float, "required": True, "metavar": "SCORE", "help": "Score on the leaderboard, e.g. 0.997."},
    "files": {
        "nargs": "+",
        "type": Path,
        "metavar": "FILE",
        "help": "Image, folder of images, or CSV file of pixels.",
    },
    "port": {
        "type": parse_integer,
        "default": 8000,
        "metavar": "N",
        "help": "Port of the page (default: %(default)s).",
    },
    "json": {"action": "store_true", "help": "Print the probabilities of all classes as JSON."},
    "full": {"action": "store_true", "help": "Also race recipes to 99.5 %% on one fold, which takes an hour or more."},
}
POSITIONAL = ("files", "name")
COMMANDS: tuple[Command, ...] = (
    data,
    doctor,
    cv,
    submit,
    report,
    tensorboard,
    tune,
    dashboard,
    grade,
    predict,
    demo,
    reproduce,
    import_predictions,
    export,
    export_onnx,
    upload,
    score,
    safety,
    worker,
)


def make_parser(
    commands: Sequence[Command] = COMMANDS, program: str = PROGRAM, description: str = DESCRIPTION
) -> argparse.ArgumentParser:
    """The parser of a program with these commands."""
    parser = argparse.ArgumentParser(prog=program, description=description, epilog=EPILOG)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands:
        text = str(command.__doc__)
        name = "import" if command is import_predictions else command.__name__.replace("_", "-")
        subparser = subparsers.add_parser(name, help=text, description=text)
        subparser.set_defaults(command=command)
        for option in inspect.signature(command).parameters:
            subparser.add_argument(option if option in POSITIONAL else f"--{option}", **OPTIONS[option])
    return parser
