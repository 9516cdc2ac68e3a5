"""Predictions from elsewhere as members, and ours for others.

A table of out-of-fold predictions has the columns id, fold and one for each class, a table of test predictions id and
the classes. Arrays (.npy) have only the classes; the split that they were made with then lies in a file beside.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from competition.crossval.folds import Folds
from competition.crossval.predictions import Predictions
from competition.data import csv_files as cells
from competition.data.dataset import Dataset
from competition.errors import Problem
from competition.files import whole

LEAST_SUM, MOST_SUM = 0.99, 1.01  # of a row's probabilities, before they are brought to 1 exactly


def read(
    oof: Path, test: Path, split: Path | None, dataset: Dataset, folds: Folds
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(held-out, test) probabilities for each fold, checked; a Problem names the file, the row and what is wrong."""
    rows, fold = _table(oof, dataset.train_ids, dataset.classes)
    if fold is None and split is None:
        raise Problem(f"{oof} does not say which fold held out which row; add --split with the file that made it")
    if fold is None:
        fold = _column(cells.text(Path(str(split)), comment="#"), "fold", Path(str(split)))
    _same_split(fold, folds, split or oof)
    of_test, _ = _table(test, dataset.test_ids, dataset.classes)
    for number in range(folds.count):
        yield rows[folds.held_out == number], of_test


def write(member: Predictions, dataset: Dataset, folds: Folds, folder: Path) -> list[Path]:
    """Write oof.csv and test.csv, the latter the mean over folds; give their paths."""
    classes = [str(name) for name in dataset.classes]
    oof = pd.DataFrame(member.oof, columns=classes)
    oof.insert(0, "id", dataset.train_ids)
    oof.insert(1, "fold", folds.held_out)
    test = pd.DataFrame(member.test.mean(axis=0), columns=classes)
    test.insert(0, "id", dataset.test_ids)
    paths = []
    for name, table in (("oof.csv", oof), ("test.csv", test)):
        with whole(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.7g")
        paths.append(folder / name)
    return paths


def _table(path: Path, ids: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities (rows, classes) and, where the file tells them, the folds."""
    if not path.exists():
        raise Problem(f"{path} is missing")
    fold = None
    if path.suffix == ".npy":
        try:
            rows = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise Problem(f"{path} is no array of numbers ({error}); write it by numpy.save") from None
        if rows.shape != (len(ids), len(classes)):
            raise Problem(
                f"{path} has the shape {rows.shape}; asked for is ({len(ids)}, {len(classes)}), rows by classes"
            )
    else:
        table = cells.text(path)
        names = [str(name) for name in classes]
        missing = [name for name in ("id", *names) if name not in table]
        if missing:
            raise Problem(f"{path} lacks the column {missing[0]}; the columns are id, fold and {', '.join(names)}")
        if len(table) != len(ids):
            raise Problem(f"{path} has {len(table)} rows; {len(ids)} are asked for")
        wrong = (table["id"] != pd.Series(ids.astype(str))).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            found = table["id"][row]
            raise Problem(f"{path}: row {row + 1} has the id {found} where {ids[row]} is due: is it in another order?")
        fold = _column(table, "fold", path) if "fold" in table else None
        rows = np.stack([_column(table, name, path) for name in names], axis=1)
    return _probabilities(rows, path), fold


def _probabilities(rows: np.ndarray, path: Path) -> np.ndarray:
    """The rows, if they are probabilities, summing to 1 exactly."""
    sums = rows.sum(axis=1)
    for wrong, why in (
        (~np.isfinite(rows).all(axis=1), "has a value that is no number"),
        ((rows < 0).any(axis=1), "has a negative probability"),
        ((sums < LEAST_SUM) | (sums > MOST_SUM), "does not sum to 1"),
    ):
        if wrong.any():
            raise Problem(f"{path}: row {int(wrong.argmax()) + 1} {why}")
    return (rows / sums[:, None]).astype(np.float32)


def _same_split(fold: np.ndarray, folds: Folds, path: Path) -> None:
    """Refuse predictions of another split: their rows would have been trained on by what blends them."""
    if len(fold) != len(folds.held_out):
        raise Problem(f"{path} tells the folds of {len(fold)} rows; {len(folds.held_out)} are asked for")
    if (missing := ~np.isfinite(fold)).any():
        raise Problem(f"{path}: row {int(missing.argmax()) + 1} has no fold")
    differ = fold != folds.held_out
    if differ.any():
        row = int(differ.argmax())
        told, ours = int(fold[row]), int(folds.held_out[row])
        raise Problem(
            f"{path} was made with another split: it holds row {row + 1} out in fold {told}, ours in fold {ours}; "
            f"train with the split.csv of {folds.name}"
        )


def _column(table: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    """A column as numbers."""
    if name not in table:
        raise Problem(f"{path} lacks the column {name}")
    return pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
