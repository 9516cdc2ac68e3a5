"""Validate and score a submission as Kaggle does, independently of the package's own code.

    check_submission(path, truth)  # raises ValueError, saying what Kaggle would reject
    score(path, truth)             # by the competition's own metric, against the true test answers

`truth` is that of a miniature. Rows may be in any order, since Kaggle joins them by id.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from miniatures import Truth
from sklearn.metrics import cohen_kappa_score, roc_auc_score

SUM_TOLERANCE = 1e-6
RANKS = 5  # labels per cell, at most
SMALLEST_PROBABILITY = 1e-15
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

Rows = list[list[str]]


def check_submission(submission: Path, truth: Truth) -> Rows:
    """Raise ValueError if Kaggle would reject the file; return its cells beside the ids, in the order of the sample."""
    header, *expected = _read_rows(truth.sample)
    found_header, *found = _read_rows(submission.read_bytes().decode("utf-8"))
    if found_header != header:
        raise ValueError(f"expected the header {header}, found {found_header}")
    ids = [row[0] for row in expected]
    _check_ids(ids, [row[0] for row in found])
    cells = {name: row for name, *row in found}
    for name, row in cells.items():
        try:
            _check_cells(row, truth)
        except ValueError as error:
            raise ValueError(f"row {name}: {error}") from None
    return [cells[name] for name in ids]


def score(submission: Path, truth: Truth) -> float:
    """Validate the submission, and score it by the metric of the competition."""
    cells = check_submission(submission, truth)
    return float(SCORERS[truth.metric](cells, truth))


def _read_rows(text: str) -> Rows:
    """The rows of a CSV file, which must all have as many cells as the header."""
    if not text.strip():
        raise ValueError("the file is empty")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"line {number}: expected {len(rows[0])} cells, found {len(row)}")
    return rows


def _check_ids(expected: list[str], found: list[str]) -> None:
    repeated = [name for name, count in Counter(found).items() if count > 1]
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    for problem, ids in (("duplicate", repeated), ("missing", missing), ("unknown", unknown)):
        if ids:
            raise ValueError(f"{len(ids)} {problem} ids, e.g. {ids[0]!r}")


def _check_cells(row: list[str], truth: Truth) -> None:
    """Raise ValueError unless the cells of a row are valid answers."""
    if truth.answer == "probabilities":
        numbers = [_parse_number(cell) for cell in row]
        if wrong := [number for number in numbers if not 0 <= number <= 1]:
            raise ValueError(f"expected a probability from 0 to 1, found {wrong[0]}")
        sums_to_1 = truth.metric == "log loss" and len(row) > 1
        if sums_to_1 and abs(math.fsum(numbers) - 1) > SUM_TOLERANCE:
            raise ValueError(f"the probabilities sum to {math.fsum(numbers):.9g}, not to 1")
        return
    (cell,) = row
    if truth.answer == "number":
        _parse_number(cell)
        return
    labels = [cell] if truth.answer == "labels" else cell.split(" ")
    if unknown := [label for label in labels if label not in truth.classes]:
        raise ValueError(f"unknown label {unknown[0]!r} in {cell!r}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"the same label twice in {cell!r}")
    if truth.answer == "ranked labels" and len(labels) > RANKS:
        raise ValueError(f"more than {RANKS} labels in {cell!r}")


def _parse_number(cell: str) -> float:
    if not NUMBER.fullmatch(cell):
        raise ValueError(f"expected a number, found {cell!r}")
    if not math.isfinite(number := float(cell)):
        raise ValueError(f"expected a finite number, found {cell!r}")
    return number


def _score_accuracy(cells: Rows, truth: Truth) -> float:
    return np.mean(_labels(cells) == truth.answers)


def _score_kappa(cells: Rows, truth: Truth) -> float:
    """Cohen's kappa with quadratic weights."""
    labels = list(map(int, truth.classes))
    return cohen_kappa_score(truth.answers.astype(int), _labels(cells).astype(int), labels=labels, weights="quadratic")


def _score_log_loss(cells: Rows, truth: Truth) -> float:
    """Mean log loss; a single column is the probability of the second class."""
    probabilities = np.array(cells, float).clip(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    if probabilities.shape[1] == 1:
        probabilities = np.hstack([1 - probabilities, probabilities])
        columns = list(truth.classes)
    else:
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        columns = _columns(truth)
    positions = [columns.index(answer) for answer in truth.answers]
    return -np.log(probabilities[np.arange(len(cells)), positions]).mean()


def _score_auc(cells: Rows, truth: Truth) -> float:
    """Mean over the columns of the area under the ROC curve."""
    probabilities = np.array(cells, float)
    if truth.kind == "labels":
        positions = [truth.classes.index(column) for column in _columns(truth)]
        positive = truth.answers[:, positions] == 1
    else:
        columns = _columns(truth) if probabilities.shape[1] > 1 else [truth.classes[1]]
        positive = truth.answers[:, None] == np.array(columns)
    return np.mean([roc_auc_score(*column) for column in zip(positive.T, probabilities.T, strict=True)])


def _score_ranking(cells: Rows, truth: Truth) -> float:
    """Mean average precision: 1 for the right label in the first place, 1/2 in the second, 0 if it is missing."""
    rankings = [cell.split(" ") for (cell,) in cells]
    return np.mean(
        [
            1 / (1 + ranking.index(answer)) if answer in ranking else 0
            for ranking, answer in zip(rankings, truth.answers, strict=True)
        ]
    )


def _score_joined_labels(cells: Rows, truth: Truth) -> float:
    """Micro-averaged F1: all labels of all rows are counted together."""
    predicted = [set(cell.split(" ")) for (cell,) in cells]
    actual = [set(answer.split(" ")) for answer in truth.answers]
    correct = sum(len(a & b) for a, b in zip(predicted, actual, strict=True))
    return 2 * correct / (sum(map(len, predicted)) + sum(map(len, actual)))


def _score_rmse(cells: Rows, truth: Truth) -> float:
    return np.sqrt(np.mean((np.array(cells, float)[:, 0] - truth.answers) ** 2))


SCORERS: dict[str, Callable[[Rows, Truth], float]] = {
    "accuracy": _score_accuracy,
    "QWK": _score_kappa,
    "log loss": _score_log_loss,
    "AUC": _score_auc,
    "MAP@5": _score_ranking,
    "micro F1": _score_joined_labels,
    "RMSE": _score_rmse,
}


def _labels(cells: Rows) -> np.ndarray:
    return np.array([cell for (cell,) in cells])


def _columns(truth: Truth) -> list[str]:
    """The names of the columns beside the ids."""
    return _read_rows(truth.sample)[0][1:]
