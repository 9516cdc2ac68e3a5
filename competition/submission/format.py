"""Write and read `submission.csv` in the format of the competition's sample submission.

| target | columns besides the id | content |
| --- | --- | --- |
| class | one | the class; the probability of one of two; or several, the most probable first |
| class | one per class | probabilities |
| labels | one | the labels that apply, separated by spaces; or several, the most probable first |
| labels | one per label | probabilities, or 0 and 1 |
| number | one | the number |
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import CONFIG_FILE, Config, SubmissionContent, read_config
from competition.data.csv_files import check_column, read_text, row_error
from competition.data.dataset import Dataset
from competition.data.inventory import FILES
from competition.data.tables import match_class_columns
from competition.data.targets import TargetKind
from competition.errors import UserError, command, shorten_list
from competition.files import atomic_file
from competition.scoring.metrics import Metric, ranked_length
from competition.scoring.multilabel import has_empty_sets, select_labels
from competition.scoring.temperature import EPSILON

SUM_TOLERANCE = 0.01  # by which the probabilities of a row may miss 1, e.g. because they are rounded
CONTENTS: dict[TargetKind, tuple[SubmissionContent, ...]] = {
    "class": ("labels", "probabilities", "ranked"),
    "labels": ("labels", "probabilities", "ranked"),
    "number": ("number",),
}
DEFAULT_LENGTH = 5  # of a ranking, unless the sample or the metric tells


@dataclass(frozen=True)
class Sample:
    """The sample submission, and what its placeholders stand for."""

    path: Path
    content: SubmissionContent | None = None  # None: infer it from the placeholders
    kind: TargetKind = "class"
    length: int | None = None  # of the ranking that the metric scores
    competition: str = ""  # its name, for messages


@dataclass(frozen=True)
class Format:
    """What a submission contains."""

    content: SubmissionContent
    columns: list[str]  # besides the id
    indices: np.ndarray | None = None  # of the class or label of each column; None: the column names classes itself
    length: int = 1  # of a ranking


def load_sample(
    folder: Path, metric: Metric, config: Config | None = None, kind: TargetKind = "class", file: str = FILES[2]
) -> Sample:
    """The sample submission of the competition in `folder`; its config or else the metric may determine the content."""
    content = (config or read_config(folder)).submission
    if content is None and kind == "class" and metric.scores_labels is False:
        content = "probabilities"
    if content is None and kind == "labels" and metric.scores_labels and ranked_length(metric) is None:
        content = "labels"
    return Sample(folder / file, content, kind, ranked_length(metric), folder.name)


def write_submission(predictions: np.ndarray, dataset: Dataset, sample: Sample, target: Path) -> None:
    """Write (test rows, outputs) in the sample's format; validate before replacing."""
    expected = read_text(sample.path)
    id_column = expected.columns[0]
    rows = pd.Index(dataset.test_ids.astype(str)).get_indexer(expected[id_column])
    check_column(sample.path, expected[id_column], rows >= 0, "the id of a test row")
    format = detect_format(sample, expected, dataset.classes)
    allow_empty = sample.kind == "labels" and has_empty_sets(dataset.labels)
    cells = _cells(predictions[rows], dataset.classes, format, sample.kind, allow_empty)
    submission = expected.assign(**dict(zip(format.columns, cells, strict=True)))
    with atomic_file(target) as temporary:
        submission.to_csv(temporary, index=False, lineterminator="\n", float_format="%.7g")
        read_submission(temporary, sample, dataset.classes)


def _cells(
    predictions: np.ndarray, classes: np.ndarray, format: Format, kind: TargetKind, allow_empty: bool
) -> list[np.ndarray]:
    """The values of each column."""
    if format.content == "number":
        return [predictions[:, 0]]
    names = classes.astype(str)
    if format.content == "ranked":
        best = np.argsort(-predictions, axis=1, kind="stable")[:, : format.length]
        return [np.array([" ".join(names[row]) for row in best])]
    if kind == "labels":
        selected = select_labels(predictions, allow_empty)
        if format.indices is None:
            return [np.array([" ".join(names[row]) for row in selected])]
        cells = selected.astype(int) if format.content == "labels" else predictions.clip(EPSILON, 1 - EPSILON)
        return list(cells[:, format.indices].T)
    if format.indices is None:
        return [names[predictions.argmax(axis=1)]]
    if len(format.indices) == 1:
        return list(predictions[:, format.indices].clip(EPSILON, 1 - EPSILON).T)
    # At least EPSILON, and with a sum of 1 that survives rounding to seven digits, which strict graders check.
    shares = predictions / predictions.sum(axis=1, keepdims=True, dtype=float)
    return list((EPSILON + (1 - len(classes) * EPSILON) * shares)[:, format.indices].T)


def read_format(sample: Sample, classes: np.ndarray) -> Format:
    """What belongs in the columns of the sample."""
    return detect_format(sample, read_text(sample.path), classes)


def detect_format(sample: Sample, expected: pd.DataFrame, classes: np.ndarray) -> Format:
    """What belongs in the columns of the sample, whose table is `expected`.

    With two classes, a single column holds the probability of the class that it is named after, by default of the
    second.
    """
    columns = list(expected.columns[1:])
    if sample.content not in (None, *CONTENTS[sample.kind]):
        choices = " or ".join(f'submission = "{each}"' for each in CONTENTS[sample.kind])
        raise UserError(f'{CONFIG_FILE} says submission = "{sample.content}"; expected {choices}')
    if sample.kind != "number" and len(columns) > 1:
        return _detect_columns(sample, columns, classes)
    if len(columns) > 1:
        raise UserError(f"{sample.path} has {len(columns)} columns besides the id; expected one, for the number")
    if sample.kind == "number":
        return Format("number", columns)
    cells = expected[columns[0]]
    is_ranked = sample.length is not None or _are_rankings(sample, cells, classes)
    if sample.content == "ranked" or (sample.content is None and is_ranked):
        _check_names(sample, classes)
        length = max(cells.str.split().str.len().max(), 1)
        length = length if length > 1 else sample.length or DEFAULT_LENGTH
        return Format("ranked", columns, length=int(min(length, len(classes))))
    if sample.kind == "labels":
        if sample.content == "probabilities":
            raise _missing_columns(sample, "has one column for probabilities", classes)
        _check_names(sample, classes)
        return Format("labels", columns)
    has_fractions = bool((pd.to_numeric(cells, errors="coerce") % 1 > 0).any())
    if sample.content == "labels" or (sample.content is None and not has_fractions):
        return Format("labels", columns)
    if len(classes) == 2:
        named = np.flatnonzero(classes.astype(str) == columns[0])
        return Format("probabilities", columns, named if len(named) else np.array([1]))
    reason = "contains fractional values" if has_fractions else "has one column for probabilities"
    raise _missing_columns(sample, reason, classes)


def _detect_columns(sample: Sample, columns: list[str], classes: np.ndarray) -> Format:
    """The format of a sample with a column per class or label."""
    if sample.content == "ranked" or (sample.content == "labels" and sample.kind == "class"):
        raise UserError(
            f"{sample.path} has {len(columns)} columns besides the id; "
            f'{CONFIG_FILE} says submission = "{sample.content}", which needs one: remove that line'
        )
    return Format(sample.content or "probabilities", columns, match_class_columns(sample.path, columns, classes))


def _are_rankings(sample: Sample, cells: pd.Series, classes: np.ndarray) -> bool:
    """Whether each cell holds several classes, of which a row has only one."""
    words = cells.str.split()
    is_several = bool((words.str.len() > 1).all()) and not cells.isin(classes.astype(str)).any()
    return sample.kind == "class" and is_several and bool(words.explode().isin(classes.astype(str)).all())


def _check_names(sample: Sample, classes: np.ndarray) -> None:
    """Raise UserError if names of classes could not be told apart in one cell."""
    if blank := next((name for name in classes.astype(str) if len(name.split()) != 1), None):
        raise UserError(f"{sample.path} has one column for several classes, but class '{blank}' contains a space")


def _missing_columns(sample: Sample, reason: str, classes: np.ndarray) -> UserError:
    expected = f"expected one column for each of {len(classes)} classes: {shorten_list(classes, 12)}"
    return UserError(f"{sample.path} {reason}; {expected}")


def read_submission(path: Path, sample: Sample, classes: np.ndarray) -> np.ndarray:
    """Predictions (rows, outputs); classes and labels become 1, rankings 1 / rank.

    Raises UserError unless the file fits the sample.
    """
    table, expected = read_text(path), read_text(sample.path)
    _check_rows(path, table, sample, expected)
    format = detect_format(sample, expected, classes)
    if format.indices is None and format.content != "number":
        return _read_names(path, table[format.columns[0]], format, sample.kind, classes)
    values = table[format.columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    for column, cells in zip(format.columns, values.T, strict=True):
        if format.content == "number":
            check_column(path, table[column], np.isfinite(cells), "a number")
        elif format.content == "labels":
            check_column(path, table[column], np.isin(cells, (0, 1)), "0 or 1")
        else:
            check_column(path, table[column], (cells >= 0) & (cells <= 1), "a probability")
    if format.indices is None:
        return values
    if sample.kind == "labels":
        return values[:, np.argsort(format.indices)]
    if len(format.indices) == 1:
        return np.column_stack([1 - values, values] if format.indices[0] else [values, 1 - values])
    sums = values.sum(axis=1)
    if (wrong := abs(sums - 1) > SUM_TOLERANCE).any():
        row = int(wrong.argmax())
        raise row_error(path, row, f"probabilities sum to {sums[row]:.4g}; expected 1")
    return values[:, np.argsort(format.indices)]


def _read_names(path: Path, cells: pd.Series, format: Format, kind: TargetKind, classes: np.ndarray) -> np.ndarray:
    """Read the classes or labels that are named in a column."""
    index, predictions = pd.Index(classes.astype(str)), np.zeros((len(cells), len(classes)))
    if kind == "class" and format.content == "labels":
        labels = index.get_indexer(cells)
        check_column(path, cells, labels >= 0, "a class of the competition")
        return np.eye(len(classes))[labels]
    is_ranked = format.content == "ranked"
    minimum, maximum = (1, format.length) if is_ranked else (0, len(classes))
    is_valid = np.zeros(len(cells), dtype=bool)
    for row, cell in enumerate(cells):
        names = index.get_indexer(cell.split())
        is_valid[row] = minimum <= len(names) <= maximum and len(set(names)) == len(names) and (names >= 0).all()
        predictions[row, names] = 1 / np.arange(1, len(names) + 1) if is_ranked else 1
    expected = f"{minimum} to {maximum} different classes" if is_ranked else "different labels of the competition"
    check_column(path, cells, is_valid, f"{expected}, separated by spaces")
    return predictions


def _check_rows(path: Path, table: pd.DataFrame, sample: Sample, expected: pd.DataFrame) -> None:
    """Raise UserError unless header, number of rows and ids are the sample's."""
    name = sample.competition or sample.path.parent.name
    remedy = f"run `{command('submit', competition=name)}` again, or start from {sample.path}"
    if list(table.columns) != list(expected.columns):
        header, expected_header = (",".join(map(str, columns)) for columns in (table.columns, expected.columns))
        raise UserError(f"{path} has the header {header}; expected {expected_header}: {remedy}")
    if len(table) != len(expected):
        raise UserError(f"{path} has {len(table)} rows; expected {len(expected)}: {remedy}")
    ids, expected_ids = table[expected.columns[0]], expected[expected.columns[0]]
    if (wrong := ids != expected_ids).any():
        row = int(wrong.argmax())
        reason = (
            f"expected id {expected_ids[row]} as in {sample.path.name}, found {ids[row]}; keep its ids and row order"
        )
        raise row_error(path, row, reason)
