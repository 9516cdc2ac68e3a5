import gzip

import numpy as np
import pandas as pd
import pytest

from benchmarks.fashion_mnist import PIXELS, make_fashion_mnist
from competition.data.practice import HELD_BACK_LABELS, is_practice
from competition.errors import UserError


def write_part(folder, name, images, labels):
    for kind, header, values in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
        (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(bytes(header) + values.tobytes()))


def test_test_labels_are_held_back(tmp_path):
    rng = np.random.default_rng(0)
    parts = {}
    for name, rows in (("train", 5), ("t10k", 3)):
        parts[name] = rng.integers(0, 256, (rows, PIXELS), np.uint8), rng.integers(0, 10, rows, np.uint8)
        write_part(tmp_path, name, *parts[name])
    make_fashion_mnist(tmp_path / "competition", tmp_path)
    train, test = (pd.read_csv(tmp_path / "competition" / f"{name}.csv") for name in ("train", "test"))
    assert (train["label"] == parts["train"][1]).all() and (train.iloc[:, 1:] == parts["train"][0]).all(axis=None)
    assert "label" not in test and (test == parts["t10k"][0]).all(axis=None)
    assert is_practice(tmp_path / "competition")
    held_back = pd.read_csv(tmp_path / "competition" / HELD_BACK_LABELS)
    assert (held_back["Label"] == parts["t10k"][1]).all()


def test_a_damaged_file_is_named_with_its_package(tmp_path):
    write_part(tmp_path, "train", np.zeros((1, PIXELS), np.uint8), np.zeros(1, np.uint8))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is damaged .* dataset-fashion-mnist again"):
        make_fashion_mnist(tmp_path / "competition", tmp_path)


def test_a_missing_file_is_named_with_its_package(tmp_path):
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is missing; install .* dataset-fashion-mnist"):
        make_fashion_mnist(tmp_path / "competition", tmp_path)
