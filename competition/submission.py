"""Write predictions in the form that the competition asks for, to the letter."""

from pathlib import Path

import numpy as np
import pandas as pd

from competition import cells
from competition.data import Dataset
from competition.files import whole
from competition.metrics import SMALLEST, Metric
from competition.problem import Problem
from competition.tables import class_of

ROUNDED = 0.01  # by which a row's probabilities may miss 1


def write(probabilities: np.ndarray, dataset: Dataset, sample: Path, metric: Metric, target: Path) -> None:
    """Write (test rows, classes) in the sample's form, as the likeliest labels or as they are, checked as read back."""
    wanted = cells.text(sample)
    id_column, *columns = wanted.columns
    places = pd.Index(dataset.test_ids.astype(str)).get_indexer(wanted[id_column])
    _require(places >= 0, sample, wanted, id_column, "is no test row's id")
    said = probabilities[places]
    asked = classes_asked(sample, wanted, dataset.classes, metric)
    if asked is None:
        submission = wanted.assign(**{columns[0]: dataset.classes[said.argmax(axis=1)].astype(str)})
    else:
        submission = wanted.assign(**dict(zip(columns, said[:, asked].clip(SMALLEST).T, strict=True)))
    with whole(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
        check(temporary, sample, dataset.classes, metric)


def classes_asked(sample: Path, wanted: pd.DataFrame, classes: np.ndarray, metric: Metric) -> np.ndarray | None:
    """The classes whose probabilities are wanted, by the sample as it was read, a column each; None for labels.

    One column for two classes is the second's, where the sample has fractions there or labels are of no use.
    """
    columns = list(wanted.columns[1:])
    if len(columns) > 1:
        return class_of(sample, columns, classes)
    values = pd.to_numeric(wanted[columns[0]], errors="coerce")
    if metric.of_labels and not (values % 1 > 0).any():
        return None
    if len(classes) == 2:
        return np.array([1])
    why = "has fractions" if metric.of_labels else f"has labels, and {metric.name} needs probabilities"
    raise Problem(
        f"{sample} {why}; for {len(classes)} classes it needs a column for each: {', '.join(map(str, classes))}"
    )


def check(submission: Path, sample: Path, classes: np.ndarray, metric: Metric) -> np.ndarray:
    """Probabilities (rows, classes), if header and ids are the sample's; a label is its class without doubt."""
    table, wanted = cells.text(submission), cells.text(sample)
    if list(table.columns) != list(wanted.columns):
        ours, theirs = (",".join(map(str, one.columns)) for one in (table, wanted))
        raise Problem(f"{submission} has the header {ours}; {sample} asks for {theirs}")
    if len(table) != len(wanted):
        raise Problem(f"{submission} has {len(table)} rows; {sample} has {len(wanted)}")
    id_column, *columns = wanted.columns
    other = (table[id_column] != wanted[id_column]).to_numpy()
    _require(~other, submission, table, id_column, f"stands where {sample.name} has another id")
    asked = classes_asked(sample, wanted, classes, metric)
    if asked is None:
        known = pd.Index(classes.astype(str)).get_indexer(table[columns[0]])
        _require(known >= 0, submission, table, columns[0], "is no class of the competition")
        return np.eye(len(classes))[known]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    for column, cell in zip(columns, values.T, strict=True):
        _require((cell >= 0) & (cell <= 1), submission, table, column, "is no probability")
    if len(asked) == 1:
        return np.column_stack([1 - values, values])
    sums = abs(values.sum(axis=1) - 1) <= ROUNDED
    _require(sums, submission, table, columns[0], "begins a row of probabilities whose sum is not 1")
    return values[:, np.argsort(asked)]


def _require(good: np.ndarray, submission: Path, table: pd.DataFrame, column: str, wrong: str) -> None:
    """A Problem at the first row that is not good."""
    if not good.all():
        row = int(good.argmin())
        raise Problem(f"{submission}: {cells.place(row, column)}: {table[column][row]} {wrong}")
