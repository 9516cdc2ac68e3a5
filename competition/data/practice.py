"""Practice competitions with held-back test labels, made from digits that Python packages contain."""

from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.mnist import TRAIN_ROWS, load_mnist
from competition.files import atomic_file

HELD_BACK_LABELS = "held_back/labels.csv"
KAGGLE_TRAIN_ROWS = 42_000
SMALL_TRAIN_ROWS = 1_198  # of 1,797
SPLIT_SEED = 0  # do not change: it defines which rows of `digits` and `digits8` are test rows


def is_practice(folder: Path) -> bool:
    """Whether `folder` contains a practice competition, with its held-back test labels."""
    return (folder / HELD_BACK_LABELS).exists()


def make_digits(folder: Path) -> None:
    """Write the 70,000 MNIST digits, split as in Kaggle's Digit Recognizer: 42,000 training and 28,000 test rows."""
    images, labels = load_mnist(folder.parent)
    _write_split(folder, images, labels, KAGGLE_TRAIN_ROWS)


def make_mnist(folder: Path) -> None:
    """Write MNIST with its standard split: 60,000 training and 10,000 test rows."""
    images, labels = load_mnist(folder.parent)
    n = TRAIN_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])


def make_digits8(folder: Path) -> None:
    """Write scikit-learn's 8x8 digits, which train in a minute; two thirds are training rows."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    _write_split(folder, np.rint(images * (255 / 16)).astype(np.uint8), labels, SMALL_TRAIN_ROWS)


def _write_split(folder: Path, images: np.ndarray, labels: np.ndarray, train_rows: int) -> None:
    """Write a competition with a stratified split into `train_rows` training rows and the remaining test rows."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), train_size=train_rows, stratify=labels, random_state=SPLIT_SEED
    )
    write_competition(folder, images[train], labels[train], images[test], labels[test])


def write_competition(
    folder: Path, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> None:
    """Write a competition in Kaggle's format; `images` is (rows, pixels). The held-back labels are written first."""
    pixels = [f"pixel{i}" for i in range(images.shape[1])]
    sample = pd.DataFrame({"ImageId": np.arange(1, len(test_labels) + 1), "Label": labels.dtype.type(0)})
    tables = {
        HELD_BACK_LABELS: sample.assign(Label=test_labels),
        "train.csv": pd.DataFrame(np.column_stack([labels, images]), columns=["label", *pixels]),
        "test.csv": pd.DataFrame(test_images, columns=pixels),
        "sample_submission.csv": sample,
    }
    write_tables(folder, tables)


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write the tables as CSV files of these names, one after the other."""
    for file, table in tables.items():
        with atomic_file(folder / file) as target:
            table.to_csv(target, index=False, lineterminator="\n")
