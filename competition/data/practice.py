"""The practice competitions, made from digits that come with packages."""

from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.mnist import TRAIN_ROWS, all_digits
from competition.files import whole

SEALED = "sealed/answers.csv"
KAGGLE_TRAIN_ROWS = 42_000
SMALL_TRAIN_ROWS = 1_198  # of 1,797
SPLIT_SEED = 0  # of the 70,000 digits into `digits`; part of that competition, never to be changed


def is_embedded(folder: Path) -> bool:
    """Whether the competition was made here, its answers under seal."""
    return (folder / SEALED).exists()


def digits(folder: Path) -> None:
    """The 70,000 MNIST digits in the shape of Kaggle's competition: 42,000 with labels, 28,000 sealed."""
    images, labels = all_digits(folder.parent)
    _seal(folder, images, labels, KAGGLE_TRAIN_ROWS)


def mnist(folder: Path) -> None:
    """The standard MNIST: 60,000 digits with labels, 10,000 sealed."""
    images, labels = all_digits(folder.parent)
    n = TRAIN_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])


def digits8(folder: Path) -> None:
    """Scikit-learn's digits of 8x8 pixels: two thirds with labels, a third sealed. They train in a minute."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    _seal(folder, np.rint(images * (255 / 16)).astype(np.uint8), labels, SMALL_TRAIN_ROWS)


def _seal(folder: Path, images: np.ndarray, labels: np.ndarray, train_rows: int) -> None:
    """Make a competition of these rows, so many of them with labels, each class in proportion."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)), train_size=train_rows, stratify=labels, random_state=SPLIT_SEED
    )
    write_competition(folder, images[train], labels[train], images[test], labels[test])


def write_competition(
    folder: Path, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, answers: np.ndarray
) -> None:
    """Write a competition in Kaggle's format, `images` being (rows, pixels); the answers go under seal, first."""
    pixels = [f"pixel{i}" for i in range(images.shape[1])]
    sample = pd.DataFrame({"ImageId": np.arange(1, len(answers) + 1), "Label": labels.dtype.type(0)})
    tables = {
        SEALED: sample.assign(Label=answers),
        "train.csv": pd.DataFrame(np.column_stack([labels, images]), columns=["label", *pixels]),
        "test.csv": pd.DataFrame(test_images, columns=pixels),
        "sample_submission.csv": sample,
    }
    for file, table in tables.items():
        with whole(folder / file) as target:
            table.to_csv(target, index=False, lineterminator="\n")
