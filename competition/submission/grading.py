"""The only room that opens the sealed answers of an embedded competition, and it counts how often."""

import csv
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from competition.data import csv_files as cells
from competition.data.dataset import load
from competition.data.practice import SEALED, is_embedded
from competition.errors import Problem
from competition.files import sha256
from competition.scoring.metrics import Metric
from competition.scoring.score import Score
from competition.submission.format import asked, check

OPENINGS = "openings.csv"
HEADER = "when", "submission", "sha256", "accuracy"


@dataclass(frozen=True)
class Grade:
    """How a submission did on the sealed answers."""

    metric: Metric
    score: Score  # by it
    accuracy: Score
    wrong: int
    rows: int
    by_class: list[tuple[object, int, int]]  # (class, rows, wrong)
    openings: int


def grade(submission: Path, folder: Path, metric: Metric) -> Grade:
    """Open the answers, compare, and put the opening on record."""
    if not folder.exists():
        raise Problem(f"{folder} is missing; run `make submit COMPETITION={shlex.quote(folder.name)}`")
    answers = folder / SEALED
    if not is_embedded(folder):
        raise Problem(f"{folder.name} has no sealed answers; only Kaggle can grade it: upload {submission}")
    if not submission.exists():
        raise Problem(f"{submission} is missing; run `make submit COMPETITION={shlex.quote(folder.name)}`")
    dataset = load(folder)
    said = check(submission, asked(folder, metric), dataset.classes)
    names = dataset.classes.astype(str)
    labels = pd.Index(names).get_indexer(cells.text(answers).iloc[:, 1])
    if (labels < 0).any():
        raise Problem(f"{answers}: row {int((labels < 0).argmax()) + 1} has a class that no training row has")
    wrong = said.argmax(axis=1) != labels
    by_class = [
        (name, int((labels == place).sum()), int(wrong[labels == place].sum()))
        for place, name in enumerate(names)
        if (labels == place).any()
    ]
    accuracy = Score.of(1.0 - wrong)
    openings = _record(answers.parent / OPENINGS, submission, accuracy.value)  # before anybody's metric sees them
    score = metric.score(labels, said)
    return Grade(metric, score, accuracy, int(wrong.sum()), len(wrong), by_class, openings)


def _record(openings: Path, submission: Path, accuracy: float) -> int:
    """Append a line, and tell how many there are."""
    new = not openings.exists()
    with openings.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(HEADER)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        writer.writerow([when, submission, sha256(submission), f"{accuracy:.6f}"])
    return len(openings.read_text().splitlines()) - 1
