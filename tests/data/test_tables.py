import numpy as np
import pandas as pd
import pytest
from conftest import TEST_ROWS, TRAIN_ROWS, small_digits

from competition.data.dataset import load_dataset
from competition.data.sources import FILES
from competition.errors import UserError


def change(folder, file, edit):
    """Edit the lines of a file."""
    lines = (folder / file).read_text().splitlines()
    changed = edit(lines)
    (folder / file).write_text("\n".join(changed) + "\n")


def set_value(row, column, text):
    """An edit that replaces one value; rows and columns count from 0."""

    def edit(lines):
        cells = lines[row + 1].split(",")
        cells[column] = text
        return [*lines[: row + 1], ",".join(cells), *lines[row + 2 :]]

    return edit


def insert_ids(path, ids):
    """Insert an id column at the front."""
    pd.concat([pd.Series(ids, name="ImageId"), pd.read_csv(path)], axis=1).to_csv(path, index=False)


def test_shape_classes_and_ids_are_inferred(dataset):
    images, labels = small_digits()
    assert dataset.images.shape == (TRAIN_ROWS, 16, 16, 1) and dataset.images.dtype == np.uint8
    assert (dataset.images.reshape(TRAIN_ROWS, -1) == images[:TRAIN_ROWS]).all()
    assert (dataset.labels == labels[:TRAIN_ROWS]).all()
    assert (dataset.test_ids == np.arange(1, TEST_ROWS + 1)).all()


def test_labels_with_gaps_are_encoded_without(competition_copy):
    table = pd.read_csv(competition_copy / "train.csv")
    table["label"] = table["label"] + (table["label"] >= 5)  # 0..10 without 5
    table.to_csv(competition_copy / "train.csv", index=False)
    dataset = load_dataset(competition_copy)
    assert list(dataset.classes) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert (dataset.classes[dataset.labels] == table["label"]).all() and dataset.labels.max() == 9


def test_text_labels_are_classes(competition_copy):
    table = pd.read_csv(competition_copy / "train.csv")
    table["label"] = [f"digit {label}" for label in table["label"]]
    table.to_csv(competition_copy / "train.csv", index=False)
    assert load_dataset(competition_copy).classes[3] == "digit 3"


@pytest.mark.parametrize("digits", [25, 1_000, 5_000])
def test_an_integer_of_more_than_64_bits_is_refused_as_a_pixel(digits, competition_copy):
    change(competition_copy, "train.csv", set_value(3, 7, "9" * digits))
    with pytest.raises(UserError, match=r"row 4 .*: expected an integer 0-255, found .9999"):
        load_dataset(competition_copy)


def test_test_ids_in_any_order_are_read(competition_copy):
    insert_ids(competition_copy / "test.csv", range(TEST_ROWS, 0, -1))
    dataset = load_dataset(competition_copy)
    assert dataset.test_ids[0] == TEST_ROWS and dataset.images.shape[1:] == (16, 16, 1)


def test_line_endings_byte_order_mark_and_integral_floats_are_accepted(competition_copy, dataset):
    for file in FILES:
        text = (competition_copy / file).read_text()
        (competition_copy / file).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    change(competition_copy, "train.csv", set_value(3, 5, "17.0"))
    reloaded = load_dataset(competition_copy)
    assert reloaded.images[3].ravel()[4] == 17
    assert (reloaded.images[4:] == dataset.images[4:]).all() and reloaded.digest != dataset.digest


def test_a_column_of_groups_is_found_whatever_the_blanks_in_the_header(competition_copy):
    groups = [" patient ", *(f"p{row // 6}" for row in range(TRAIN_ROWS))]
    change(
        competition_copy,
        "train.csv",
        lambda lines: [f"{line},{group}" for line, group in zip(lines, groups, strict=True)],
    )
    dataset = load_dataset(competition_copy)
    assert dataset.layout.group == "patient"
    assert len(np.unique(dataset.groups)) == TRAIN_ROWS // 6


def test_a_column_with_a_number_of_many_digits_is_no_pixel(competition_copy):
    for file in ("train.csv", "test.csv"):
        change(competition_copy, file, lambda lines: [lines[0].replace("pixel7,", f"pixel{'7' * 5000},"), *lines[1:]])
    with pytest.raises(UserError, match=r"column name pixel7777777.* has 5,005 characters"):
        load_dataset(competition_copy)


@pytest.mark.parametrize(
    ("train_ids", "ids", "label", "message"),
    [
        (None, None, "", r"more\.csv: row 3 \(line 4\), column label: expected a label, found nothing"),
        (range(1, TRAIN_ROWS + 1), [7, 8, 9], "1", r"more\.csv: row 1 \(line 2\), column ImageId: duplicate id '7'"),
        (range(1, TRAIN_ROWS + 1), None, "1", r"more\.csv lacks column ImageId, which train\.csv has"),
    ],
)
def test_an_error_in_a_further_table_names_its_row(train_ids, ids, label, message, competition_copy):
    more = pd.read_csv(competition_copy / "train.csv", dtype=str).head(3)
    more.loc[2, "label"] = label
    more.to_csv(competition_copy / "more.csv", index=False)
    if train_ids:
        insert_ids(competition_copy / "train.csv", train_ids)
    if ids:
        insert_ids(competition_copy / "more.csv", ids)
    (competition_copy / "competition.toml").write_text('extra = ["more.csv"]')
    with pytest.raises(UserError, match=message):
        load_dataset(competition_copy)


@pytest.mark.parametrize("extra", ['["train.csv"]', '["more.csv", "more.csv"]'])
def test_no_rows_are_added_a_second_time(extra, competition_copy):
    pd.read_csv(competition_copy / "train.csv").head(3).to_csv(competition_copy / "more.csv", index=False)
    (competition_copy / "competition.toml").write_text(f"extra = {extra}")
    with pytest.raises(UserError, match=r"extra adds the rows of (train|more)\.csv a second time"):
        load_dataset(competition_copy)


def test_only_tables_that_can_be_added_are_suggested(competition_copy):
    pd.read_csv(competition_copy / "train.csv").head(3).to_csv(competition_copy / "more.csv", index=False)
    assert "more.csv has labelled rows too" in "\n".join(load_dataset(competition_copy).layout.notes)
    insert_ids(competition_copy / "train.csv", range(1, TRAIN_ROWS + 1))
    assert "more.csv" not in "\n".join(load_dataset(competition_copy).layout.notes)


def test_messages_name_the_configuration_that_is_read_where_tables_are_in_a_subfolder(competition_copy):
    (competition_copy / "files").mkdir()
    for file in FILES:
        table = pd.read_csv(competition_copy / file)
        table = table.drop(columns=[name for name in table if name in ("pixel254", "pixel255")])
        table.to_csv(competition_copy / "files" / file, index=False)
        (competition_copy / file).unlink()
    with pytest.raises(UserError, match=f"set their shape in {competition_copy}/competition.toml"):
        load_dataset(competition_copy)
