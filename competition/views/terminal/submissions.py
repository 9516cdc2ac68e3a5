"""Results of submissions."""

from pathlib import Path

import numpy as np
from rich.table import Table

from competition.data.kaggle import DIGIT_RECOGNIZER, has_credentials
from competition.data.practice import is_practice
from competition.errors import DEFAULTS, command
from competition.scoring.metrics import ACCURACY, Metric
from competition.scoring.standard_error import Score, format_percent
from competition.submission.grading import Grade
from competition.submission.log import Entry

# About 0.15 % of this competition's labels are wrong, so a higher accuracy needs test labels in training.
DIGITS, TOO_GOOD = DIGIT_RECOGNIZER, 0.9985


def describe_entry(entry: Entry) -> str:
    """The submission's number and file, and how it differs from the previous one."""
    metadata = entry.metadata
    trained = ", predicted by models trained on all rows" if metadata.get("refits") else ""
    lines = [f"submission {entry.number}: {entry.file}{trained}"]
    if identical := metadata["identical_to"]:
        lines.append(f"identical to submission {identical[0]}; no need to upload it again")
    elif (difference := metadata["differs_from_previous"]) and "largest" in difference:
        lines.append(f"largest difference from the previous submission: {difference['largest']:.3g}")
    elif difference:
        examples = f", e.g. {', '.join(difference['examples'])}" if difference["examples"] else ""
        lines.append(f"{difference['rows']} labels differ from the previous submission{examples}")
    return "\n".join(lines)


def next_step(folder: Path) -> str:
    """The command that scores a submission of this competition."""
    if not is_practice(folder):
        return f"next: {command('upload', competition=folder.name)}"
    return f"next: {command('grade', competition=folder.name)}, once, at the end"


def explain_practice(file: Path, kaggle_hint: str | None) -> str:
    """That a file is not for Kaggle, and how to make one that is."""
    real = kaggle_hint or f"for Kaggle's competition, run: {command('submit', competition=DIGITS)}"
    return f"practice, not for Kaggle: {file}; {real}"


def kaggle_hint(competition: str, data: Path) -> str | None:
    """How to train on Kaggle's own digits, if the default competition is run although they are available."""
    if competition != DEFAULTS["competition"]:
        return None
    submit = command("submit", competition=DIGITS)
    if any((data / DIGITS).glob("[!.]*")):
        return f"Kaggle's own files are in {data / DIGITS}; train on them: {submit}"
    if has_credentials():
        return f"Kaggle's credentials are on this machine; to train on Kaggle's own files: {submit}"
    return None


def compare_with_leaderboard(entry: Entry, metric: Metric, value: float, rows: float) -> str:
    """Compare the out-of-fold score with the leaderboard's, which is a `value` on this number of rows."""
    oof = Score(*entry.metadata["score"])
    public = Score(value, oof.standard_error * float(np.sqrt(entry.metadata["rows"] / rows)))
    difference = Score(value - oof.value, float(np.hypot(oof.standard_error, public.standard_error)))
    is_significant = abs(difference.value) > 2 * difference.standard_error
    text = (
        f"submission {entry.number}: {metric.format(oof)} out of fold, {metric.format(public)} on the leaderboard\n"
        f"difference {'+' if difference.value > 0 else ''}{metric.format(difference)}: "
        + (
            "significant; check for a distribution shift between train and test"
            if is_significant
            else "not significant"
        )
    )
    if entry.metadata["run"]["competition"] == DIGITS and value > TOO_GOOD:
        text += f"\nmore than {TOO_GOOD:.2%} suggests test labels in the training data; check for a leak"
    return text


def grade_table(grade: Grade) -> Table:
    """Errors and accuracy by class."""
    table = Table("class", box=None)
    for heading in ("rows", "wrong", "accuracy"):
        table.add_column(heading, justify="right")
    for label, rows, wrong in grade.by_class:
        table.add_row(str(label), str(rows), str(wrong), f"{100 * (1 - wrong / rows):.2f} %")
    table.add_row("all", str(grade.rows), str(grade.wrong), format_percent(grade.accuracy))
    if grade.metric != ACCURACY:
        table.caption = f"{grade.metric.name}: {grade.metric.format(grade.score)}"
        table.caption_justify = "left"
    return table
