"""Write and read `submission.csv` in the format of the competition's sample submission."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import CONFIG_FILE, Config, SubmissionContent, read_config
from competition.data.csv_files import check_column, read_text, row_error
from competition.data.dataset import Dataset
from competition.data.tables import match_class_columns
from competition.errors import UserError, command, shorten_list
from competition.files import atomic_file
from competition.scoring.metrics import Metric
from competition.scoring.temperature import EPSILON

SUM_TOLERANCE = 0.01  # by which the probabilities of a row may miss 1, e.g. because they are rounded


@dataclass(frozen=True)
class Sample:
    """The sample submission, and whether its placeholders stand for labels or probabilities."""

    path: Path
    answer: SubmissionContent | None = None  # None: infer it from the placeholders


def load_sample(folder: Path, metric: Metric, config: Config | None = None) -> Sample:
    """The sample submission of the competition in `folder`; its config or else the metric may determine the answer."""
    content = (config or read_config(folder)).answer or ("probabilities" if metric.scores_labels is False else None)
    return Sample(folder / "sample_submission.csv", content)


def write_submission(probabilities: np.ndarray, dataset: Dataset, sample: Sample, target: Path) -> None:
    """Write (test rows, classes) in the sample's format, as labels or probabilities; validate before replacing."""
    expected = read_text(sample.path)
    id_column, *columns = expected.columns
    rows = pd.Index(dataset.test_ids.astype(str)).get_indexer(expected[id_column])
    check_column(sample.path, expected[id_column], rows >= 0, "the id of a test row")
    probabilities = probabilities[rows]
    classes = column_classes(sample, expected, dataset.classes)
    if classes is None:
        submission = expected.assign(**{columns[0]: dataset.classes[probabilities.argmax(axis=1)].astype(str)})
    else:
        clipped = probabilities[:, classes].clip(EPSILON, 1 - EPSILON)
        submission = expected.assign(**dict(zip(columns, clipped.T, strict=True)))
    with atomic_file(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n", float_format="%.7g")
        read_submission(temporary, sample, dataset.classes)


def column_classes(sample: Sample, expected: pd.DataFrame, classes: np.ndarray) -> np.ndarray | None:
    """The index of the class whose probability belongs in each column of the sample; None if it asks for labels.

    `expected` is the sample's table. With two classes, a single column holds the probability of the class that it is
    named after, by default of the second.
    """
    columns = list(expected.columns[1:])
    if len(columns) > 1:
        if sample.answer == "labels":
            raise UserError(
                f"{sample.path} has {len(columns)} columns besides the id; "
                f'{CONFIG_FILE} says answer = "labels", which needs one: remove that line'
            )
        return match_class_columns(sample.path, columns, classes)
    values = pd.to_numeric(expected[columns[0]], errors="coerce")
    has_fractions = bool((values % 1 > 0).any())
    if sample.answer == "labels" or (sample.answer is None and not has_fractions):
        return None
    if len(classes) == 2:
        named = np.flatnonzero(classes.astype(str) == columns[0])
        return named if len(named) else np.array([1])
    reason = "contains fractional values" if has_fractions else "has one column for probabilities"
    raise UserError(
        f"{sample.path} {reason}; expected one column for each of {len(classes)} classes: {shorten_list(classes, 12)}"
    )


def read_submission(path: Path, sample: Sample, classes: np.ndarray) -> np.ndarray:
    """Probabilities (rows, classes), one-hot for labels; raises UserError unless the file fits the sample."""
    table, expected = read_text(path), read_text(sample.path)
    _check_rows(path, table, sample.path, expected)
    columns = list(expected.columns[1:])
    indices = column_classes(sample, expected, classes)
    if indices is None:
        labels = pd.Index(classes.astype(str)).get_indexer(table[columns[0]])
        check_column(path, table[columns[0]], labels >= 0, "a class of the competition")
        return np.eye(len(classes))[labels]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    for column, cells in zip(columns, values.T, strict=True):
        check_column(path, table[column], (cells >= 0) & (cells <= 1), "a probability")
    if len(indices) == 1:
        return np.column_stack([1 - values, values] if indices[0] else [values, 1 - values])
    sums = values.sum(axis=1)
    if (wrong := abs(sums - 1) > SUM_TOLERANCE).any():
        row = int(wrong.argmax())
        raise row_error(path, row, f"probabilities sum to {sums[row]:.4g}; expected 1")
    return values[:, np.argsort(indices)]


def _check_rows(path: Path, table: pd.DataFrame, sample: Path, expected: pd.DataFrame) -> None:
    """Raise UserError unless header, number of rows and ids are the sample's."""
    remedy = f"run `{command('submit', competition=sample.parent.name)}` again, or start from {sample}"
    if list(table.columns) != list(expected.columns):
        header, expected_header = (",".join(map(str, columns)) for columns in (table.columns, expected.columns))
        raise UserError(f"{path} has the header {header}; expected {expected_header}: {remedy}")
    if len(table) != len(expected):
        raise UserError(f"{path} has {len(table)} rows; expected {len(expected)}: {remedy}")
    ids, expected_ids = table[expected.columns[0]], expected[expected.columns[0]]
    if (wrong := ids != expected_ids).any():
        row = int(wrong.argmax())
        reason = f"expected id {expected_ids[row]} as in {sample.name}, found {ids[row]}; keep its ids and row order"
        raise row_error(path, row, reason)
