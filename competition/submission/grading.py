"""Evaluate a submission on the held-back test labels of a practice competition, and record each evaluation.

No other module reads these labels.
"""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from competition.data.config import Config, read_config
from competition.data.csv_files import check_column, read_text
from competition.data.dataset import load_dataset
from competition.data.practice import HELD_BACK_LABELS, is_practice
from competition.errors import UserError, command
from competition.files import sha256, wait_for_lock, write_atomically
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score
from competition.submission.format import load_sample, read_submission

EVALUATIONS = "evaluations.csv"
HEADER = "when", "submission", "sha256", "accuracy"


@dataclass(frozen=True)
class Grade:
    """The scores of a submission on the held-back test labels."""

    metric: Metric
    score: Score  # by the metric
    accuracy: Score
    wrong: int
    rows: int
    by_class: list[tuple[object, int, int]]  # (class, rows, wrong)
    evaluations: int  # of the competition so far


def grade(submission: Path, folder: Path, metric: Metric, config: Config | None = None) -> Grade:
    """Score a submission on the held-back labels of the competition in `folder`, and record the evaluation."""
    remedy = f"run `{command('submit', competition=folder.name)}`"
    if not folder.exists():
        raise UserError(f"{folder} is missing; {remedy}")
    if not is_practice(folder):
        upload = command("upload", competition=folder.name)
        raise UserError(f"{folder.name} has no held-back labels; only Kaggle can grade it: run `{upload}`")
    if not submission.exists():
        raise UserError(f"{submission} is missing; {remedy}")
    config = config or read_config(folder)
    dataset = load_dataset(folder, config)
    probabilities = read_submission(submission, load_sample(folder, metric, config), dataset.classes)
    names = dataset.classes.astype(str)
    labels_file = folder / HELD_BACK_LABELS
    column = read_text(labels_file).iloc[:, 1]
    labels = pd.Index(names).get_indexer(column)
    check_column(labels_file, column, labels >= 0, "a class of the training rows")
    wrong = probabilities.argmax(axis=1) != labels
    by_class = [
        (name, int((labels == index).sum()), int(wrong[labels == index].sum()))
        for index, name in enumerate(names)
        if (labels == index).any()
    ]
    accuracy = Score.from_rows(1.0 - wrong)
    # Recorded before a custom metric runs, which may fail or keep the labels.
    evaluations = _record(labels_file.parent / EVALUATIONS, submission, accuracy.value)
    score = metric.score(labels, probabilities)
    return Grade(metric, score, accuracy, int(wrong.sum()), len(wrong), by_class, evaluations)


def _record(path: Path, submission: Path, accuracy: float) -> int:
    """Append a row to the evaluations and return their number."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    with wait_for_lock(path.parent):
        earlier = path.read_bytes() if path.exists() else b""
        if not earlier:
            writer.writerow(HEADER)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        writer.writerow([when, submission, sha256(submission), f"{accuracy:.6f}"])
        content = earlier + text.getvalue().encode()
        write_atomically(path, content)
    return len(content.splitlines()) - 1
