"""Write predictions in the form that the competition asks for, to the letter."""

from pathlib import Path

import numpy as np
import pandas as pd

from competition import cells
from competition.data import Dataset
from competition.files import whole
from competition.problem import Problem


def write(probabilities: np.ndarray, dataset: Dataset, sample: Path, target: Path) -> None:
    """Write the likeliest labels of (test rows, classes) in the sample's form, checked as read back."""
    labels = pd.Series(dataset.classes[probabilities.argmax(axis=1)].astype(str), index=dataset.test_ids.astype(str))
    wanted = cells.text(sample)
    id_column, label_column = wanted.columns
    submission = wanted.assign(**{label_column: labels.reindex(wanted[id_column]).to_numpy()})
    with whole(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n")
        check(temporary, sample, dataset.classes)


def check(submission: Path, sample: Path, classes: np.ndarray) -> pd.DataFrame:
    """The submission, if its header and ids are the sample's and its labels are among the classes."""
    table, wanted = cells.text(submission), cells.text(sample)
    if list(table.columns) != list(wanted.columns):
        found, asked = (",".join(map(str, one.columns)) for one in (table, wanted))
        raise Problem(f"{submission} has the header {found}; {sample} asks for {asked}")
    if len(table) != len(wanted):
        raise Problem(f"{submission} has {len(table)} rows; {sample} has {len(wanted)}")
    id_column, label_column = wanted.columns
    for column, wrong, where in (
        (id_column, (table[id_column] != wanted[id_column]).to_numpy(), f"stands where {sample.name} has another id"),
        (label_column, ~table[label_column].isin(classes.astype(str)).to_numpy(), "is no class of the competition"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise Problem(f"{submission}: {cells.place(row, column)}: {table[column][row]} {where}")
    return table
