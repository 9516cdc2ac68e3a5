import re

import numpy as np
import pandas as pd
import pytest
from conftest import TEST_ROWS, TRAIN_ROWS, small_digits

from competition.data import load
from competition.problem import Problem
from competition.sources import FILES


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


DEFECTS = {
    "text": ("train.csv", value(6, 3, "abc"), r"train\.csv: row 7 \(line 8\), column pixel2: found abc where a whole"),
    "missing": ("test.csv", value(0, 9, ""), r"test\.csv: row 1 \(line 2\), column pixel9: found nothing"),
    "too bright": ("train.csv", value(1, 1, "256"), r"row 2 \(line 3\), column pixel0: found 256"),
    "negative": ("train.csv", value(1, 1, "-1"), r"row 2 \(line 3\), column pixel0: found -1"),
    "fraction": ("train.csv", value(1, 1, "0.5"), r"row 2 \(line 3\), column pixel0: found 0\.5"),
    "no label": ("train.csv", value(9, 0, ""), r"row 10 \(line 11\), column label: found nothing where a label"),
    "one class": ("train.csv", lambda ls: [ls[0], *("1" + x[1:] for x in ls[1:])], r"every label .* is 1"),
    "duplicate id": ("sample_submission.csv", value(4, 0, "3"), r"row 5 \(line 6\), column ImageId: found 3"),
    "cut test": ("test.csv", lambda lines: lines[:-5], r"test\.csv has 195 rows and sample_submission\.csv 200"),
    "cut in a row": ("train.csv", lambda lines: [*lines[:-1], lines[-1][:40]], r"row 600 .* found nothing"),
    "long row": ("train.csv", lambda ls: [*ls[:9], ls[9] + ",7", *ls[10:]], r"train\.csv.*line 10"),
    "empty": ("train.csv", lambda lines: [], r"train\.csv is not a CSV file"),
    "header only": ("train.csv", lambda lines: lines[:1], r"train\.csv has a header and no rows"),
    "web page": ("test.csv", lambda lines: ["<html>", "Too many requests"], r"test\.csv lacks column pixel0"),
    "no label column": ("train.csv", lambda ls: [x.split(",", 1)[1] for x in ls], r"same columns as test\.csv"),
    "extra column": ("test.csv", lambda ls: [f"{x},{1 if i else 'extra'}" for i, x in enumerate(ls)], "lacks column"),
    "narrow sample": ("sample_submission.csv", lambda ls: [x.split(",")[0] for x in ls], r"has 1 columns"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_line_that_leads_to_the_place(defect, own_competition):
    file, edit, message = DEFECTS[defect]
    change(own_competition, file, edit)
    with pytest.raises(Problem) as problem:
        load(own_competition)
    assert re.search(message, str(problem.value)), problem.value
    assert "\n" not in str(problem.value)
    assert not (own_competition / "cache").exists()


def test_a_missing_pixel_column_is_named(own_competition):
    for file in ("train.csv", "test.csv"):
        pd.read_csv(own_competition / file).drop(columns="pixel17").to_csv(own_competition / file, index=False)
    with pytest.raises(Problem, match="lack column pixel17"):
        load(own_competition)


def test_a_count_of_pixels_that_is_no_square_is_told(own_competition):
    for file in ("train.csv", "test.csv"):
        pd.read_csv(own_competition / file).drop(columns="pixel255").to_csv(own_competition / file, index=False)
    with pytest.raises(Problem, match="255 pixel columns, which make no square"):
        load(own_competition)


def test_ids_that_the_sample_lacks_are_named(own_competition):
    with_ids(own_competition / "test.csv", [*range(1, TEST_ROWS), 999])
    with pytest.raises(Problem, match=r"row 200 \(line 201\), column ImageId: found 999"):
        load(own_competition)
