import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.held_back_photographs import hold_back, write_columns
from competition.data.dataset import load_dataset
from competition.data.practice import HELD_BACK_LABELS, is_practice
from competition.errors import UserError


@pytest.fixture
def photographs(tmp_path):
    """A folder with 20 pictures of two classes, each of its own colour."""
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    files = [f"{row:02}.png" for row in range(20)]
    for row, file in enumerate(files):
        Image.new("RGB", (8, 6), (10 * row, 0, 200)).save(source / "images" / file)
    labels = ["glass" if row % 2 else "paper" for row in range(20)]
    pd.DataFrame({"filename": files, "label": labels}).to_csv(source / "labels.csv", index=False)
    return source


def test_a_fifth_of_each_class_is_held_back_and_no_picture_is_in_both_parts(photographs, tmp_path):
    hold_back(tmp_path / "data", photographs)
    assert is_practice(tmp_path / "data")
    train, test = (pd.read_csv(tmp_path / "data" / file) for file in ("train.csv", HELD_BACK_LABELS))
    assert train["label"].value_counts().to_dict() == {"glass": 8, "paper": 8}
    assert test["label"].value_counts().to_dict() == {"glass": 2, "paper": 2}
    files = pd.read_csv(photographs / "labels.csv")["filename"]
    assert sorted([*train["filename"], *test["filename"]]) == sorted(files)
    for part, table in (("train", train), ("test", test)):
        assert {file.name for file in (tmp_path / "data" / part).iterdir()} == set(table["filename"])


def test_columns_are_the_pixels_of_the_pictures(photographs, tmp_path):
    folder = tmp_path / "data"
    hold_back(folder, photographs)
    dataset = load_dataset(folder)
    write_columns(dataset, folder / "sample_submission.csv", tmp_path / "columns", use_features=False)
    train, test = (pd.read_csv(tmp_path / "columns" / f"{part}.csv") for part in ("train", "test"))
    assert train.pop("label").tolist() == dataset.classes[dataset.labels].tolist()
    assert np.array_equal(train, dataset.images.reshape(16, -1))
    assert np.array_equal(test, dataset.test_images.reshape(4, -1))
    sample = pd.read_csv(tmp_path / "columns" / "sample_submission.csv")
    assert sample["filename"].tolist() == dataset.test_ids.tolist()


def test_pictures_without_a_table_of_labels_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"labels.csv is missing"):
        hold_back(tmp_path / "data", tmp_path)
