"""Import of predictions made elsewhere, and export of ours.

A CSV file of out-of-fold predictions has the columns id, fold and one per class, or the number's; a CSV file of test
predictions has id and the classes. An array (.npy) has only the classes, so the split that it was made with is passed
as another file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from competition.crossval.folds import Folds
from competition.crossval.predictions import Predictions
from competition.data import csv_files
from competition.data.dataset import Dataset
from competition.data.targets import TargetKind, target_kind
from competition.errors import UserError, option
from competition.files import atomic_file

MIN_SUM, MAX_SUM = 0.99, 1.01  # of a row's probabilities, before they are normalized


class _Expected(NamedTuple):
    """What a table of predictions contains, in messages."""

    columns: str
    row: str


OOF = _Expected("id, fold and the classes", "row of train.csv")
TEST = _Expected("id and the classes", "test row")


def read_predictions(
    oof: Path, test: Path, split: Path | None, dataset: Dataset, folds: Folds
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield checked (held-out, test) predictions for each fold; errors name the file, the row and what is wrong."""
    kind = target_kind(dataset.labels)
    oof_predictions, fold = _read_table(oof, dataset.train_ids, dataset.classes, OOF)
    if fold is None and split is None:
        raise UserError(f"{oof} has no column fold; set {option('split', 'FILE')} to its split.csv")
    if fold is None:
        fold = _read_column(csv_files.read_text(Path(str(split)), comment="#"), "fold", Path(str(split)))
    _check_split(fold, folds, split or oof)
    test_predictions = np.empty((0, len(dataset.classes)))
    if len(dataset.test_ids):
        test_predictions, _ = _read_table(test, dataset.test_ids, dataset.classes, TEST)
    oof_predictions, test_predictions = _check(oof_predictions, oof, kind), _check(test_predictions, test, kind)
    for number in range(folds.count):
        yield oof_predictions[folds.held_out == number], test_predictions


def write_predictions(predictions: Predictions, dataset: Dataset, folds: Folds, folder: Path) -> list[Path]:
    """Write oof.csv and test.csv, the latter averaged over folds; return their paths."""
    classes = [str(name) for name in dataset.classes]
    oof = pd.DataFrame(predictions.oof, columns=classes)
    oof.insert(0, "id", dataset.train_ids)
    oof.insert(1, "fold", folds.held_out)
    test = pd.DataFrame(predictions.test.mean(axis=0), columns=classes)
    test.insert(0, "id", dataset.test_ids)
    paths = []
    for name, table in (("oof.csv", oof), ("test.csv", test)):
        with atomic_file(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.7g")
        paths.append(folder / name)
    return paths


def _read_table(
    path: Path, ids: np.ndarray, classes: np.ndarray, expected: _Expected
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read predictions (rows, outputs) and, if the file has them, the folds."""
    if not path.exists():
        raise UserError(f"{path} is missing")
    fold = None
    if path.suffix == ".npy":
        rows = _read_array(path)
        if rows.shape != (len(ids), len(classes)):
            raise UserError(f"{path} has shape {rows.shape}; expected ({len(ids)}, {len(classes)}), rows by classes")
    else:
        table = csv_files.read_text(path)
        names = [str(name) for name in classes]
        missing = [name for name in ("id", *names) if name not in table]
        if missing:
            raise UserError(f"{path} has no column {missing[0]}; expected {expected.columns} {', '.join(names)}")
        if len(table) != len(ids):
            raise UserError(f"{path} has {len(table)} rows; expected {len(ids)}, one per {expected.row}")
        wrong = (table["id"] != pd.Series(ids.astype(str))).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            actual = table["id"][row]
            raise UserError(
                f"{path}, row {row + 1}: expected id {ids[row]}, found {actual}; keep the order of the rows"
            )
        fold = _read_column(table, "fold", path) if "fold" in table else None
        rows = np.stack([_read_column(table, name, path) for name in names], axis=1)
    return rows, fold


def _read_array(path: Path) -> np.ndarray:
    """Read a file of `numpy.save` that holds numbers."""
    try:
        rows = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged file can raise almost anything
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not an array of numbers ({reason}); write it with numpy.save") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "biuf":
        found = f"an array of {rows.dtype}" if isinstance(rows, np.ndarray) else "several arrays"
        raise UserError(f"{path} is not an array of numbers, but {found}; write it with numpy.save")
    return rows


def _check(rows: np.ndarray, path: Path, kind: TargetKind) -> np.ndarray:
    """Check that the rows are predictions, and normalize the probabilities of classes to a sum of 1."""
    sums, is_probability = rows.sum(axis=1), kind != "number"
    for is_wrong, reason in (
        (~np.isfinite(rows).all(axis=1), "expected numbers"),
        (is_probability & (rows < 0).any(axis=1), "expected probabilities, found a negative one"),
        ((kind == "labels") & (rows > 1).any(axis=1), "expected probabilities, found one above 1"),
        ((kind == "class") & ((sums < MIN_SUM) | (sums > MAX_SUM)), "probabilities sum to {:.4g}; expected 1"),
    ):
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise UserError(f"{path}, row {row + 1}: {reason.format(sums[row])}")
    return (rows / sums[:, None] if kind == "class" else rows).astype(np.float32)


def _check_split(fold: np.ndarray, folds: Folds, path: Path) -> None:
    """Raise if the split is not ours: the blend would be scored on rows that the member was trained on."""
    if len(fold) != len(folds.held_out):
        raise UserError(
            f"{path} has the folds of {len(fold)} rows; expected {len(folds.held_out)}, one per row of train.csv"
        )
    if (missing := ~np.isfinite(fold)).any():
        row = int(missing.argmax())
        raise UserError(f"{path}, row {row + 1}: expected fold {folds.held_out[row]}")
    differ = fold != folds.held_out
    if differ.any():
        row = int(differ.argmax())
        theirs, ours = int(fold[row]), int(folds.held_out[row])
        raise UserError(
            f"{path}, row {row + 1}: expected fold {ours}, found {theirs}; "
            f"it was made with a different split: train with {folds.name}/split.csv"
        )


def _read_column(table: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    """Convert a column to numbers; invalid ones become NaN."""
    if name not in table:
        raise UserError(f"{path} has no column {name}")
    return pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
