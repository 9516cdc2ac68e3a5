"""Write predictions in the form that the competition asks for, to the letter."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data import config as rules
from competition.data import csv_files as cells
from competition.data.dataset import Dataset
from competition.data.tables import class_of
from competition.errors import Problem, first
from competition.files import whole
from competition.scoring.metrics import Metric
from competition.scoring.temperature import SMALLEST

ROUNDED = 0.01  # by which a row's probabilities may miss 1


@dataclass(frozen=True)
class Sample:
    """The sample submission, and what belongs where it has its placeholders."""

    path: Path
    answer: rules.Answer | None = None  # None: what the placeholders look like


def asked(folder: Path, metric: Metric) -> Sample:
    """The sample of the competition in `folder`, which rules or metric may say more of."""
    answer = rules.read(folder).answer or ("probabilities" if metric.of_labels is False else None)
    return Sample(folder / "sample_submission.csv", answer)


def write(probabilities: np.ndarray, dataset: Dataset, sample: Sample, target: Path) -> None:
    """Write (test rows, classes) in the sample's form, as the likeliest labels or as they are, checked as read back."""
    wanted = cells.text(sample.path)
    id_column, *columns = wanted.columns
    places = pd.Index(dataset.test_ids.astype(str)).get_indexer(wanted[id_column])
    _require(places >= 0, sample.path, wanted, id_column, "is no test row's id")
    said = probabilities[places]
    columns_classes = classes_asked(sample, wanted, dataset.classes)
    if columns_classes is None:
        submission = wanted.assign(**{columns[0]: dataset.classes[said.argmax(axis=1)].astype(str)})
    else:
        cautious = said[:, columns_classes].clip(SMALLEST, 1 - SMALLEST)
        submission = wanted.assign(**dict(zip(columns, cautious.T, strict=True)))
    with whole(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n", float_format="%.7g")
        check(temporary, sample, dataset.classes)


def classes_asked(sample: Sample, wanted: pd.DataFrame, classes: np.ndarray) -> np.ndarray | None:
    """The class whose probability goes into each column of the sample, read as `wanted`; None where labels do.

    A single column for two classes is that of the class it is named after, else of the second.
    """
    columns = list(wanted.columns[1:])
    if len(columns) > 1:
        if sample.answer == "labels":
            raise Problem(
                f"{sample.path} has {len(columns)} columns beside the id; labels, as {rules.FILE} has it, need one"
            )
        return class_of(sample.path, columns, classes)
    values = pd.to_numeric(wanted[columns[0]], errors="coerce")
    has_fractions = bool((values % 1 > 0).any())
    if sample.answer == "labels" or (sample.answer is None and not has_fractions):
        return None
    if len(classes) == 2:
        named = np.flatnonzero(classes.astype(str) == columns[0])
        return named if len(named) else np.array([1])
    why = "has fractions" if has_fractions else "has one column for probabilities"
    raise Problem(f"{sample.path} {why}; {len(classes)} classes need a column each: {first(classes, 12)}")


def check(submission: Path, sample: Sample, classes: np.ndarray) -> np.ndarray:
    """Probabilities (rows, classes), if header and ids are the sample's; a label is its class without doubt."""
    table, wanted = cells.text(submission), cells.text(sample.path)
    if list(table.columns) != list(wanted.columns):
        ours, theirs = (",".join(map(str, one.columns)) for one in (table, wanted))
        raise Problem(f"{submission} has the header {ours}; {sample.path} asks for {theirs}")
    if len(table) != len(wanted):
        raise Problem(f"{submission} has {len(table)} rows; {sample.path} has {len(wanted)}")
    id_column, *columns = wanted.columns
    other = (table[id_column] != wanted[id_column]).to_numpy()
    _require(~other, submission, table, id_column, f"stands where {sample.path.name} has another id")
    columns_classes = classes_asked(sample, wanted, classes)
    if columns_classes is None:
        known = pd.Index(classes.astype(str)).get_indexer(table[columns[0]])
        _require(known >= 0, submission, table, columns[0], "is no class of the competition")
        return np.eye(len(classes))[known]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy()
    for column, cell in zip(columns, values.T, strict=True):
        _require((cell >= 0) & (cell <= 1), submission, table, column, "is no probability")
    if len(columns_classes) == 1:
        return np.column_stack([1 - values, values] if columns_classes[0] else [values, 1 - values])
    sums = abs(values.sum(axis=1) - 1) <= ROUNDED
    _require(sums, submission, table, columns[0], "begins a row of probabilities whose sum is not 1")
    return values[:, np.argsort(columns_classes)]


def _require(good: np.ndarray, submission: Path, table: pd.DataFrame, column: str, wrong: str) -> None:
    """A Problem at the first row that is not good."""
    if not good.all():
        row = int(good.argmin())
        raise Problem(f"{submission}: {cells.place(row, column)}: {table[column][row]} {wrong}")
