"""Write predictions in the form that the competition asks for, to the letter."""

from pathlib import Path

import numpy as np
import pandas as pd

from competition import cells
from competition.data import Dataset
from competition.files import whole
from competition.metrics import SMALLEST
from competition.problem import Problem
from competition.tables import class_of

ROUNDED = 0.01  # by which a row's probabilities may miss 1


def write(probabilities: np.ndarray, dataset: Dataset, sample: Path, target: Path) -> None:
    """Write (test rows, classes) in the sample's form, as the likeliest labels or as they are, checked as read back."""
    wanted = cells.text(sample)
    id_column, *columns = wanted.columns
    said = probabilities[pd.Index(dataset.test_ids.astype(str)).get_indexer(wanted[id_column])]
    if len(columns) == 1:
        submission = wanted.assign(**{columns[0]: dataset.classes[said.argmax(axis=1)].astype(str)})
    else:
        places = class_of(sample, columns, dataset.classes)
        submission = wanted.assign(**dict(zip(columns, said[:, places].clip(SMALLEST).T, strict=True)))
    with whole(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
        check(temporary, sample, dataset.classes)


def check(submission: Path, sample: Path, classes: np.ndarray) -> np.ndarray:
    """Probabilities (rows, classes), if header and ids are the sample's; a label is its class without doubt."""
    table, wanted = cells.text(submission), cells.text(sample)
    if list(table.columns) != list(wanted.columns):
        found, asked = (",".join(map(str, one.columns)) for one in (table, wanted))
        raise Problem(f"{submission} has the header {found}; {sample} asks for {asked}")
    if len(table) != len(wanted):
        raise Problem(f"{submission} has {len(table)} rows; {sample} has {len(wanted)}")
    id_column, *columns = wanted.columns
    other = (table[id_column] != wanted[id_column]).to_numpy()
    _require(~other, submission, table, id_column, f"stands where {sample.name} has another id")
    if len(columns) == 1:
        known = pd.Index(classes.astype(str)).get_indexer(table[columns[0]])
        _require(known >= 0, submission, table, columns[0], "is no class of the competition")
        return np.eye(len(classes))[known]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    for column, cell in zip(columns, values.T, strict=True):
        _require((cell >= 0) & (cell <= 1), submission, table, column, "is no probability")
    sums = abs(values.sum(axis=1) - 1) <= ROUNDED
    _require(sums, submission, table, columns[0], "begins a row of probabilities whose sum is not 1")
    said = np.empty_like(values)
    said[:, class_of(sample, columns, classes)] = values
    return said


def _require(good: np.ndarray, submission: Path, table: pd.DataFrame, column: str, wrong: str) -> None:
    """A Problem at the first row that is not good."""
    if not good.all():
        row = int(good.argmin())
        raise Problem(f"{submission}: {cells.place(row, column)}: {table[column][row]} {wrong}")
