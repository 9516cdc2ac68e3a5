"""Photographs for a comparison with tabular tools: a part is held back, and numbers stand for pictures."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from competition.data.dataset import Dataset, require_features
from competition.data.practice import HELD_BACK_LABELS, write_tables
from competition.errors import UserError
from competition.files import write_atomically

LABELS, IMAGES = "labels.csv", "images"  # of the source: a table of file names and classes, a folder of pictures
TEST_SHARE = 0.2
SEED = 0  # do not change: it defines which rows are test rows


def hold_back(folder: Path, source: Path) -> None:
    """Write a practice competition into `folder`: a stratified fifth of the source's pictures are its test rows."""
    if not (source / LABELS).exists():
        raise UserError(f"{source / LABELS} is missing; it lists the pictures in {source / IMAGES} and their classes")
    table = pd.read_csv(source / LABELS)
    file_column, label_column = table.columns
    labels = table[label_column]
    train, test = train_test_split(table.index, test_size=TEST_SHARE, stratify=labels, random_state=SEED)
    parts = {"train": table.loc[train.sort_values()], "test": table.loc[test.sort_values()]}
    tables = {
        HELD_BACK_LABELS: parts["test"],
        "sample_submission.csv": parts["test"].assign(**{label_column: labels.iloc[0]}),
        "train.csv": parts["train"],
    }
    for part, rows in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        for file in rows[file_column]:
            shutil.copyfile(source / IMAGES / file, folder / part / file)
    write_tables(folder, tables)


def write_columns(dataset: Dataset, sample: Path, folder: Path, use_features: bool) -> None:
    """Write each picture's pixels, or its pretrained features, as columns of CSV files."""
    names = dataset.classes[dataset.labels]
    folder.mkdir(parents=True, exist_ok=True)
    for part, images in (("train", dataset.images), ("test", dataset.test_images)):
        values = require_features(dataset).load(part) if use_features else images
        table = pd.DataFrame(np.reshape(values, (len(values), -1))).add_prefix("column")
        if part == "train":
            table.insert(0, "label", names)
        write_tables(folder, {f"{part}.csv": table})
    write_atomically(folder / sample.name, sample.read_bytes())
