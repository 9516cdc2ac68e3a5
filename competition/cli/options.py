"""Options of the commands: types, defaults and help texts. Each can also be set by an environment variable."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from competition.cli.run import (
    COLUMN_MODELS,
    MANY_CLASSES,
    MANY_CLASSES_MODELS,
    MANY_GLYPHS,
    MANY_GLYPHS_MODELS,
    OTHER_MODELS,
    PRETRAINED_MODELS,
)

MAX_SEED = 2**32 - 1  # the largest that NumPy's RandomState accepts
MAX_PORT = 65_535
PREFIX = "FOLDBLEND_"  # of the environment variables, by which the Makefile passes its variables


def parse_competition(text: str) -> str:
    """The name of a competition; a path would put folds and submissions elsewhere."""
    name = text.rstrip("/")  # added by the completion of a shell
    if name in ("", ".", "..") or "/" in name:
        raise typer.BadParameter(f"expected the name of a folder in data/, got {text!r}")
    return name


def parse_integer(text: str) -> int:
    """A non-negative integer."""
    if not str(text).isdecimal():
        raise typer.BadParameter(f"expected an integer >= 0, got {text}")
    return int(text)


def parse_positive(text: str) -> int:
    """A positive integer."""
    if not parse_integer(text):
        raise typer.BadParameter("expected an integer >= 1, got 0")
    return int(text)


def parse_port(text: str) -> int:
    """The number of a port."""
    if not 1 <= (port := parse_integer(text)) <= MAX_PORT:
        raise typer.BadParameter(f"expected a port from 1 to {MAX_PORT}, got {text}")
    return port


def parse_seed(text: str) -> int:
    """A seed of a split; `make tune` also uses the next one, for its second split."""
    seed = parse_integer(text)
    if seed >= MAX_SEED:
        raise typer.BadParameter(f"expected an integer below {MAX_SEED}, got {text}")
    return seed


def parse_score(text: str) -> float:
    """A finite number."""
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise typer.BadParameter(f"expected a number, e.g. 0.997, got {text!r}")
    return score


def parse_duration(text: str) -> float:
    """Seconds from e.g. 90s, 20m, 1.5h or 1h30m."""
    match = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in "hms"), text)
    hours, minutes, rest = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    if not (seconds := 3600 * hours + 60 * minutes + rest):
        raise typer.BadParameter(f"invalid duration {text!r}; use e.g. 90s, 20m or 1h30m")
    return seconds


class Names(tuple[str, ...]):
    """Names of members."""


def parse_names(text: str) -> Names:
    """Names separated by spaces or commas."""
    names = Names(name for name in re.split(r"[\s,]+", text) if name)
    if not names and text.strip():
        raise typer.BadParameter(f"expected names of models, got {text!r}")
    return names


def option(name: str, help_text: str, **settings: Any) -> Any:
    """An option that can also be set by an environment variable."""
    return typer.Option(f"--{name}", help=help_text, envvar=PREFIX + name.upper(), show_envvar=False, **settings)


def count_option(name: str, help_text: str, parser: Callable[[str], int] = parse_integer) -> Any:
    """An option for an integer, by default a non-negative one."""
    return option(name, help_text, parser=parser, metavar="N")


Competition = Annotated[
    str, option("competition", "Name of the competition's folder in data/.", parser=parse_competition, metavar="NAME")
]
Models = Annotated[
    Names | None,
    option(
        "models",
        'Models to use, e.g. "quick quick.1 svm"; "best": more and longer networks than the default; "all": every '
        "model. MODEL.SEED is the same network with another seed, "
        "MODEL:NAME a variant with another recipe, MODEL:eN a network trained for N epochs.  "
        f"[default: {' '.join(PRETRAINED_MODELS)} for coloured pictures "
        f"larger than 48 pixels; else {' '.join(MANY_CLASSES_MODELS)} for at least {MANY_CLASSES} classes, "
        f"{' '.join(MANY_GLYPHS_MODELS)} for {MANY_GLYPHS:,} or more glyphs on black or white, such as digits, "
        f"{' '.join(OTHER_MODELS)} for others; also {' '.join(COLUMN_MODELS)} where the tables have columns alongside "
        "the images]",
        parser=parse_names,
        metavar="NAMES",
    ),
]
Folds = Annotated[int, count_option("folds", "Number of folds.")]
Seed = Annotated[
    int, option("seed", "Seed of the split; each split has its own folder.", parser=parse_seed, metavar="N")
]
Jobs = Annotated[
    int | None,
    count_option(
        "jobs",
        "Number of single-threaded workers, plus one if all would have a GPU; with --cluster, of tasks that run at "
        "a time.  "
        "[default and maximum: number of cores; with --cluster: all threads of its Dask workers]",
        parse_positive,
    ),
]
Budget = Annotated[
    float | None,
    option(
        "budget",
        "Time limit, e.g. 20m or 1.5h. Models that cannot be completed in time are not started.  [default: none]",
        parser=parse_duration,
        metavar="TIME",
    ),
]
Blend = Annotated[
    str,
    option(
        "blend",
        "How to blend: mean, tempered, convex, hill-climbing, log-linear, or auto, which is the mean unless "
        "another is significantly better.",
        metavar="BLENDER",
    ),
]
Refit = Annotated[
    int,
    count_option(
        "refit",
        "Retrain the blend's networks this many times, and its other models once, on all training rows; these models "
        "then predict the test rows. The score is still the cross-validated one.",
    ),
]
ReportRefit = Annotated[int, count_option("refit", "Report on the run that was submitted with this --refit.")]
Cluster = Annotated[
    str | None,
    option(
        "cluster",
        "Address of a Dask scheduler whose workers train, e.g. tcp://host:8786.  [default: this machine]",
        metavar="ADDRESS",
    ),
]
SchedulerAddress = Annotated[
    str | None,
    option("cluster", "Address of the Dask scheduler, e.g. tcp://host:8786.  [required]", metavar="ADDRESS"),
]
LocalJobs = Annotated[
    int | None,
    count_option(
        "jobs",
        "Number of single-threaded workers, plus one if all would have a GPU.  [default and maximum: number of cores]",
        parse_positive,
    ),
]
Trials = Annotated[int, count_option("trials", "Number of trials per model, including those of earlier runs.")]
Storage = Annotated[
    str | None,
    option(
        "storage",
        "Optuna storage, e.g. postgresql+psycopg://HOST/NAME.  [default: folds/COMPETITION/studies.db]",
        metavar="URL",
    ),
]
Number = Annotated[
    int | None,
    count_option(
        "number",
        "Number of the submission.  [default: the competition's submission in submissions/submission.csv, else its "
        "latest]",
    ),
]
Port = Annotated[int, count_option("port", "Port of the page.", parse_port)]
Wait = Annotated[
    float | None,
    option(
        "wait",
        "How long to wait for the score, e.g. 2m.  [default: 5m]",
        parser=parse_duration,
        metavar="TIME",
    ),
]
Infer = Annotated[
    bool,
    option(
        "infer",
        "Pack the models of submission --number as a data set, and write a script that only predicts with them, "
        "for competitions that score notebooks.",
    ),
]
Push = Annotated[
    bool, option("push", "Push the folder to Kaggle, wait until the session has ended, and fetch its predictions.")
]
Yes = Annotated[bool, option("yes", "Upload without asking first.")]
Value = Annotated[float, option("value", "Score on the leaderboard, e.g. 0.997.", parser=parse_score, metavar="SCORE")]
File = Annotated[
    Path | None,
    option(
        "file",
        "Submission to evaluate.  [default: the competition's submission in submissions/submission.csv, else its "
        "latest]",
        metavar="FILE",
    ),
]
Json = Annotated[bool, option("json", "Print the probabilities of all classes as JSON.")]
Files = Annotated[list[Path], typer.Argument(help="Image, folder of images, or CSV file of pixels.", metavar="FILE...")]
ImportedName = Annotated[str, option("name", "Name of the imported member, which is used as @NAME.", metavar="NAME")]
OutOfFold = Annotated[
    Path,
    option("oof", "Out-of-fold probabilities: CSV with columns id, fold and one per class, or .npy.", metavar="FILE"),
]
Test = Annotated[
    Path, option("test", "Test probabilities: CSV with columns id and one per class, or .npy.", metavar="FILE")
]
Split = Annotated[
    Path | None,
    option(
        "split",
        "The split.csv that the model was trained on; required if --oof has no column fold.",
        metavar="FILE",
    ),
]
