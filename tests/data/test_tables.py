import numpy as np
import pandas as pd
from conftest import TEST_ROWS, TRAIN_ROWS, small_digits

from competition.data.dataset import load
from competition.data.sources import FILES


def change(folder, file, edit):
    """Apply an edit of the file's lines."""
    lines = (folder / file).read_text().splitlines()
    changed = edit(lines)
    (folder / file).write_text("\n".join(changed) + "\n")


def value(row, column, text):
    """An edit that replaces one value, rows and columns counting from 0."""

    def edit(lines):
        cells = lines[row + 1].split(",")
        cells[column] = text
        return [*lines[: row + 1], ",".join(cells), *lines[row + 2 :]]

    return edit


def with_ids(path, ids):
    """Put an id column in front."""
    pd.concat([pd.Series(ids, name="ImageId"), pd.read_csv(path)], axis=1).to_csv(path, index=False)


def test_shape_classes_and_ids_are_inferred(dataset):
    images, labels = small_digits()
    assert dataset.images.shape == (TRAIN_ROWS, 16, 16, 1) and dataset.images.dtype == np.uint8
    assert (dataset.images.reshape(TRAIN_ROWS, -1) == images[:TRAIN_ROWS]).all()
    assert (dataset.labels == labels[:TRAIN_ROWS]).all()
    assert (dataset.test_ids == np.arange(1, TEST_ROWS + 1)).all()


def test_label_gaps_are_closed_and_remembered(own_competition):
    table = pd.read_csv(own_competition / "train.csv")
    table["label"] = table["label"] + (table["label"] >= 5)  # 0..10 without 5
    table.to_csv(own_competition / "train.csv", index=False)
    dataset = load(own_competition)
    assert list(dataset.classes) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert (dataset.classes[dataset.labels] == table["label"]).all() and dataset.labels.max() == 9


def test_text_labels_are_classes(own_competition):
    table = pd.read_csv(own_competition / "train.csv")
    table["label"] = [f"digit {label}" for label in table["label"]]
    table.to_csv(own_competition / "train.csv", index=False)
    assert load(own_competition).classes[3] == "digit 3"


def test_an_id_column_is_found_in_any_order(own_competition):
    with_ids(own_competition / "test.csv", range(TEST_ROWS, 0, -1))
    dataset = load(own_competition)
    assert dataset.test_ids[0] == TEST_ROWS and dataset.images.shape[1:] == (16, 16, 1)


def test_line_ends_byte_order_mark_and_whole_floats_change_nothing(own_competition, dataset):
    for file in FILES:
        text = (own_competition / file).read_text()
        (own_competition / file).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    change(own_competition, "train.csv", value(3, 5, "17.0"))
    again = load(own_competition)
    assert again.images[3].ravel()[4] == 17
    assert (again.images[4:] == dataset.images[4:]).all() and again.digest != dataset.digest
