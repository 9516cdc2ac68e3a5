"""What became of a submission."""

import shlex
from pathlib import Path

import numpy as np
from rich.table import Table

from competition.data.practice import is_embedded
from competition.scoring.metrics import ACCURACY, Metric
from competition.scoring.score import Score, percent
from competition.submission.grading import Grade
from competition.submission.log import Entry

DIGITS, TOO_GOOD = "digit-recognizer", 0.9985  # no honest model of it is better: that many labels are wrong


def kept(entry: Entry) -> str:
    """What became of a submission."""
    card = entry.card
    told = [f"submission {entry.number}: {entry.file}"]
    if same := card["same_as"]:
        told.append(f"the same labels as submission {same[0]}: uploading it again would tell nothing new")
    elif differs := card["differs_from_the_one_before"]:
        examples = f", such as {', '.join(differs['such_as'])}" if differs["such_as"] else ""
        told.append(f"{differs['rows']} labels differ from the submission before{examples}")
    return "\n".join(told)


def next_step(folder: Path) -> str:
    """Where the score of a submission comes from."""
    verb = "grade" if is_embedded(folder) else "upload"
    told = f"next: make {verb} COMPETITION={shlex.quote(folder.name)}"
    if not is_embedded(folder):
        return told
    return f"{told}, once, at the end (practice rows; Kaggle's own: make submit COMPETITION={DIGITS})"


def against_leaderboard(entry: Entry, metric: Metric, value: float, rows: float) -> str:
    """Cross-validation's promise beside the leaderboard's word on so many rows: news or noise."""
    local = Score(*entry.card["score"])
    public = Score(value, local.standard_error * float(np.sqrt(entry.card["rows"] / rows)))
    difference = Score(value - local.value, float(np.hypot(local.standard_error, public.standard_error)))
    is_news = abs(difference.value) > 2 * difference.standard_error
    told = (
        f"submission {entry.number}: {metric.told(local)} out of fold, {metric.told(public)} on the leaderboard\n"
        f"difference {'+' if difference.value > 0 else ''}{metric.told(difference)}: "
        + ("news: look for a difference between train and test" if is_news else "noise")
    )
    if entry.card["origin"]["competition"] == DIGITS and value > TOO_GOOD:
        told += f"\nmore than {TOO_GOOD:.2%} smells of test answers that were trained on: look for a leak"
    return told


def graded(grade: Grade) -> Table:
    """A grade, class by class."""
    table = Table("class", box=None)
    for heading in ("rows", "wrong", "accuracy"):
        table.add_column(heading, justify="right")
    for name, rows, wrong in grade.by_class:
        table.add_row(str(name), str(rows), str(wrong), f"{100 * (1 - wrong / rows):.2f} %")
    table.add_row("all", str(grade.rows), str(grade.wrong), percent(grade.accuracy))
    if grade.metric != ACCURACY:
        table.caption = f"{grade.metric.name}: {grade.metric.told(grade.score)}"
        table.caption_justify = "left"
    return table
