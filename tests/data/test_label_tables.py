"""The table of labels is found by its columns."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.data.config import CONFIG_FILE
from competition.data.dataset import load_dataset
from competition.errors import UserError

ROWS, TEST_ROWS = 24, 6


@pytest.fixture
def folder(tmp_path):
    """Images in one folder, labels in `marks.csv`, and a sample submission with a column for each class."""
    folder = tmp_path / "data" / "signs"
    (folder / "pictures").mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (ROWS + TEST_ROWS, 9, 12), dtype=np.uint8)
    for row, image in enumerate(images):
        Image.fromarray(image).save(folder / "pictures" / f"s.{row}.tif")
    names = [f"s.{row}" for row in range(ROWS + TEST_ROWS)]
    marks = pd.DataFrame({"scan": names[:ROWS], "grade": [row % 4 for row in range(ROWS)], "sign": ["x", "y"] * 12})
    marks.to_csv(folder / "marks.csv", index=False)
    sample = pd.DataFrame({"scan": names[ROWS:], "x": 0.5, "y": 0.5})
    sample.to_csv(folder / "sampleSubmission.csv", index=False)
    return folder


def edit(folder, change, name="marks.csv"):
    change(pd.read_csv(folder / name, dtype=str)).to_csv(folder / name, index=False)


def test_the_label_is_the_column_with_the_classes_of_the_sample(folder):
    dataset = load_dataset(folder)
    assert dataset.classes.tolist() == ["x", "y"] and dataset.labels.tolist() == [0, 1] * 12
    assert dataset.images.shape == (ROWS, 9, 12, 1) and dataset.layout.source == "column sign of marks.csv"


def test_the_configuration_names_another_label(folder):
    pd.DataFrame({"scan": ["s.24"], "grade": 0}).to_csv(folder / "sampleSubmission.csv", index=False)
    assert load_dataset(folder).classes.tolist() == [0, 1, 2, 3]
    pd.DataFrame({"scan": ["s.24"], "level": 0}).to_csv(folder / "sampleSubmission.csv", index=False)
    with pytest.raises(UserError, match=r'marks\.csv has columns scan, grade, sign; which of them .* label = "sign"'):
        load_dataset(folder)
    (folder / CONFIG_FILE).write_text('label = "grade"')
    assert load_dataset(folder).classes.tolist() == [0, 1, 2, 3]


def test_a_table_of_several_rows_per_image_is_not_the_label_table(folder):
    boxes = pd.DataFrame({"scan": [f"s.{row // 2}" for row in range(2 * ROWS)], "sign": "x"})
    boxes.to_csv(folder / "boxes.csv", index=False)
    dataset = load_dataset(folder)
    assert dataset.labels.tolist() == [0, 1] * 12 and "not read, since marks.csv has the labels: boxes.csv" in (
        dataset.layout.notes
    )


def test_folders_of_classes_need_no_table(folder):
    (folder / "marks.csv").unlink()
    for row in range(ROWS):
        target = folder / "train" / ("x", "y")[row % 2] / f"s.{row}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / f"s.{row}.tif").rename(target)
    dataset = load_dataset(folder)
    assert len(dataset.labels) == ROWS and dataset.layout.source == "folder names"
    assert [f"s.{row}.tif" for row in range(0, ROWS, 2)] == sorted(
        dataset.train_ids[dataset.labels == 0], key=lambda name: int(name.split(".")[1])
    )


def test_without_test_images_no_sample_submission_is_needed(folder):
    (folder / "sampleSubmission.csv").unlink()
    edit(folder, lambda table: table.drop(columns="grade"))
    dataset = load_dataset(folder)
    assert len(dataset.labels) == ROWS and len(dataset.test_images) == 0 and dataset.layout.sample == ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "pictures/s.4.tif").unlink(),
            r"marks\.csv: row 5 \(line 6\), column scan: expected the name of an image in .*signs, found 's\.4'",
        ),
        (
            lambda folder: (folder / "pictures/s.25.tif").unlink(),
            r"sampleSubmission\.csv: row 2 .*, column scan: expected the name of an image .*, found 's\.25'",
        ),
        (
            lambda folder: (folder / "pictures/s.4.tif").write_bytes((folder / "pictures/s.4.tif").read_bytes()[:60]),
            r"cannot read the image .*s\.4\.tif",
        ),
        (
            lambda folder: edit(folder, lambda table: table.assign(sign=table["sign"].where(table.index != 7, ""))),
            r"marks\.csv: row 8 \(line 9\), column sign: expected a label, found nothing",
        ),
        (
            lambda folder: edit(folder, lambda table: pd.concat([table, table[:1]])),
            r"marks\.csv: row 25 \(line 26\), column scan: duplicate id 's\.0'",
        ),
        (
            lambda folder: pd.DataFrame({"scan": ["s.0", "s.3"], "sign": ["x", "x"]}).to_csv(
                folder / "more.csv", index=False
            ),
            r"marks\.csv and .*more\.csv have different labels for s\.3; remove one of them",
        ),
        (
            lambda folder: (folder / CONFIG_FILE).write_text('group = "patient"'),
            r"marks\.csv has no column patient, which competition\.toml names as the group",
        ),
        (
            lambda folder: edit(
                folder, lambda table: table.assign(scan="page_" + table["scan"]), "sampleSubmission.csv"
            ),
            r"row 1: 'page_s\.24' is not the name of an image in .*; competitions that ask for pixels",
        ),
    ],
)
def test_defects_are_located(damage, message, folder):
    damage(folder)
    with pytest.raises(UserError, match=message):
        load_dataset(folder)


def write_pictures(folder, names, value=None):
    for row, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(row).integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels if value is None else np.full((12, 12), value, np.uint8)).save(path)


def test_labelled_test_rows_are_never_trained_on(tmp_path):
    write_pictures(tmp_path, [f"images/{row}.png" for row in range(50)])
    labels = pd.DataFrame({"image": range(50), "label": ["a", "b"] * 25})
    labels[:20].to_csv(tmp_path / "train.csv", index=False)
    labels[20:].to_csv(tmp_path / "test.csv", index=False)
    sample = pd.DataFrame({"image": [f"{row}.png" for row in range(20, 50)], "label": "a"})
    sample.to_csv(tmp_path / "sample_submission.csv", index=False)
    dataset = load_dataset(tmp_path)
    assert dataset.train_ids.tolist() == list(range(20)) and dataset.layout.source == "column label of train.csv"
    assert dataset.columns.shape == (20, 0)


def test_test_images_in_the_table_of_labels_are_left_out(tmp_path):
    write_pictures(tmp_path, [f"images/{row}.png" for row in range(50)])
    pd.DataFrame({"image": range(50), "label": ["a", "b"] * 25}).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"image": range(40, 50), "label": "a"}).to_csv(tmp_path / "sample_submission.csv", index=False)
    dataset = load_dataset(tmp_path)
    assert len(dataset.labels) == 40 and len(dataset.test_ids) == 10
    assert "10 rows of labels.csv are test images and are not used" in dataset.layout.notes


def test_ids_may_start_again_in_the_test_part(tmp_path):
    write_pictures(tmp_path, [f"train/{row}.png" for row in range(20)], 10)
    write_pictures(tmp_path, [f"test/{row}.png" for row in range(20)], 200)
    pd.DataFrame({"id": range(20), "label": ["a", "b"] * 10}).to_csv(tmp_path / "train.csv", index=False)
    pd.DataFrame({"id": range(20), "label": "a"}).to_csv(tmp_path / "sample_submission.csv", index=False)
    dataset = load_dataset(tmp_path)
    assert (dataset.images == 10).all() and (dataset.test_images == 200).all()


def test_masks_are_not_treated_as_pictures(tmp_path):
    write_pictures(tmp_path, [f"images/{row}.png" for row in range(20)])
    write_pictures(tmp_path, [f"masks/{row}.png" for row in range(20)], 255)
    table = pd.DataFrame({"filename": [f"{row}.png" for row in range(20)], "label": ["a", "b"] * 10})
    table.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(UserError, match="have the same name but are different pictures; move away the folder"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    "write", [lambda row: f"part{row % 2}\\{row:03}.png", lambda row: f"/kaggle/part{row % 2}/{row:03}"]
)
def test_names_may_be_paths_of_another_machine(write, tmp_path):
    write_pictures(tmp_path, [f"part{row % 2}/{row:03}.png" for row in range(20)])
    table = pd.DataFrame({"filename": [write(row) for row in range(20)], "label": ["a"] * 10 + ["b"] * 10})
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert load_dataset(tmp_path).labels.tolist() == [0] * 10 + [1] * 10


def test_a_table_whose_names_match_no_image_is_not_ignored(tmp_path):
    write_pictures(tmp_path, [f"part{row % 2}/{row:03}.png" for row in range(20)])
    pd.DataFrame({"filename": range(20), "label": "a"}).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(
        UserError, match=r"labels\.csv: no column names the images; column filename has e\.g\. '0', and"
    ):
        load_dataset(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    write_pictures(tmp_path, [f"{name}/{row}.png" for name in ("car", "train", "train station") for row in range(5)])
    assert load_dataset(tmp_path).classes.tolist() == ["car", "train", "train station"]


def test_classes_are_the_outermost_folders_that_differ(tmp_path):
    write_pictures(tmp_path, [f"set/train/{name}/{row}/x.png" for name in ("cat", "dog") for row in range(5)])
    dataset = load_dataset(tmp_path)
    assert dataset.classes.tolist() == ["cat", "dog"]
    assert "images of each class: cat (5), dog (5)" in dataset.layout.notes


def test_columns_that_look_like_groups_but_cannot_be_used_are_named(folder):
    edit(folder, lambda table: table.assign(patientid=["", *(f"p{row % 8}" for row in range(1, ROWS))]))
    notes = "\n".join(load_dataset(folder).layout.notes)
    assert "column patientid may be groups but is empty in row 1, so folds ignore it" in notes
