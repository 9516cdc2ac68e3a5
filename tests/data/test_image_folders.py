import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.data import image_folders as albums
from competition.data.config import FILE
from competition.data.dataset import load
from competition.data.sources import ensure
from competition.errors import Problem
from competition.submission.format import Sample, check, write

ROWS, ASKED = 30, 8


@pytest.fixture
def album(tmp_path):
    """Coloured pictures of 12x10, names without suffixes."""
    folder = tmp_path / "data" / "signs"
    pictures = np.random.default_rng(0).integers(0, 256, (ROWS + ASKED, 10, 12, 3), dtype=np.uint8)
    for row, picture in enumerate(pictures):
        path = folder / ("train" if row < ROWS else "test") / f"{row % 3}" / f"sign-{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    names = [f"{row % 3}/sign-{row:03}" for row in range(ROWS + ASKED)]
    labels = [("stop", "yield", "left")[row % 3] for row in range(ROWS)]
    pd.DataFrame({"file": names[:ROWS], "sign": labels}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"file": names[ROWS:], "sign": "stop"}).to_csv(folder / "sample_submission.csv", index=False)
    return folder, pictures


def test_pictures_are_the_images_of_their_rows(album):
    folder, pictures = album
    dataset = load(folder)
    assert (dataset.images == pictures[:ROWS]).all() and (dataset.test_images == pictures[ROWS:]).all()
    assert dataset.classes.tolist() == ["left", "stop", "yield"] and dataset.classes[dataset.labels[0]] == "stop"
    answers = np.eye(3)[np.arange(ASKED) % 3]
    write(answers, dataset, Sample(folder / "sample_submission.csv"), folder / "mine.csv")
    assert (check(folder / "mine.csv", Sample(folder / "sample_submission.csv"), dataset.classes) == answers).all()
    found = pd.read_csv(folder / "mine.csv")
    assert found["file"][0] == "0/sign-030" and found["sign"].tolist()[:3] == ["left", "stop", "yield"]


def test_columns_that_say_nothing_of_name_or_label_are_left_alone(album):
    folder, pictures = album
    table = pd.read_csv(folder / "train.csv").assign(age=7)
    table.to_csv(folder / "train.csv", index=False)
    assert (load(folder).images == pictures[:ROWS]).all()
    table.rename(columns={"file": "scan", "sign": "kind"}).to_csv(folder / "train.csv", index=False)
    (folder / FILE).write_text('label = "kind"\nid = "scan"')
    assert (load(folder).images == pictures[:ROWS]).all()


def test_names_may_begin_with_their_folder(album):
    folder, pictures = album
    table = pd.read_csv(folder / "train.csv")
    table.assign(file="train/" + table["file"] + ".png").to_csv(folder / "train.csv", index=False)
    assert (load(folder).images == pictures[:ROWS]).all()


@pytest.mark.parametrize("nested", [False, True])
def test_each_folder_may_be_an_archive_of_its_own(nested, album, tmp_path):
    folder, pictures = album
    there = tmp_path / "data" / "packed"
    there.mkdir()
    for name in ("train", "test"):
        with zipfile.ZipFile(there / f"{name}.zip", "w") as members:
            for path in sorted((folder / name).rglob("*.png")):
                members.write(path, path.relative_to(folder if nested else folder / name))
    for name in ("train.csv", "sample_submission.csv"):
        (folder / name).rename(there / name)
    if nested:
        with zipfile.ZipFile(there / "signs.zip", "w") as members:
            for path in [one for one in there.iterdir() if one.name != "signs.zip"]:
                members.write(path, path.name)
                path.unlink()
    ensure("packed", there)
    assert (load(there).images == pictures[:ROWS]).all()


def test_an_archive_may_hold_all_of_it(album, tmp_path):
    folder, pictures = album
    there = tmp_path / "data" / "packed"
    there.mkdir()
    with zipfile.ZipFile(there / "signs.zip", "w") as members:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            members.write(path, f"signs/{name.parts[0]}/{name}" if len(name.parts) > 1 else f"signs/{name}")
        members.writestr("signs/train/../../../outside.png", b"")
    ensure("packed", there)
    assert (load(there).images == pictures[:ROWS]).all() and not (tmp_path / "outside.png").exists()
    tables = {"sample_submission.csv", "train.csv"}
    assert {path.name for path in there.iterdir()} == {"cache", "signs.zip", "test", "train", *tables}


def test_names_may_have_suffixes_and_grey_pictures_one_channel(album):
    folder, pictures = album
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path.with_suffix(".JPG"), quality=95)
        path.unlink()
    table = pd.read_csv(folder / "train.csv")
    table.assign(file=table["file"] + ".jpg").to_csv(folder / "train.csv", index=False)
    dataset = load(folder)
    assert dataset.images.shape == (ROWS, 10, 12, 1)
    assert abs(dataset.images[..., 0] - pictures[:ROWS].mean(axis=3)).mean() < 60


def test_a_shape_that_is_told_is_made(album):
    folder, _ = album
    (folder / FILE).write_text("shape = [16, 16]")
    assert load(folder).images.shape == (ROWS, 16, 16, 1)


def test_a_changed_picture_is_another_competition_and_a_copied_one_is_not(album):
    folder, pictures = album
    first = load(folder).digest
    path = folder / "train" / "0" / "sign-000.png"
    os.utime(path, (1, 1))
    assert load(folder).digest == first
    Image.fromarray(pictures[1]).save(path)
    assert load(folder).digest != first


def test_pictures_are_read_some_at_a_time(album, monkeypatch):
    folder, pictures = album
    monkeypatch.setattr(albums, "AT_A_TIME", 7 * 360)
    monkeypatch.setattr(albums, "SHARE", 4)
    assert (load(folder).images == pictures[:ROWS]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "train/1/sign-004.png").unlink(), r"row 5 \(line 6\), column file: found 1/sign-004"),
        (
            lambda folder: (folder / "test/0/sign-030.png").unlink(),
            r"sample_submission\.csv: row 1 .* found 0/sign-030",
        ),
        (
            lambda folder: (folder / "test/0/sign-030.png").write_bytes(b"<html>"),
            r"sign-030\.png is no picture that can",
        ),
        (
            lambda folder: Image.new("RGB", (9, 9)).save(folder / "train/1/sign-004.png"),
            r"sign-004\.png has 9x9 pixels \(RGB\), not 10x12x3, as sign-000\.png is; tell a shape in",
        ),
        (lambda folder: (folder / "train/1/sign-004.JPG").touch(), "have the same name; leave one of them"),
        (
            lambda folder: (pd.read_csv(folder / "train.csv").assign(by="me").rename(columns={"sign": "kind"})).to_csv(
                folder / "train.csv", index=False
            ),
            r"train\.csv has columns file, kind, by; a name and a label were expected: tell",
        ),
        (lambda folder: (folder / "sample_submission.csv").unlink(), r"sample_submission\.csv is missing; run"),
    ],
)
def test_what_is_wrong_with_an_album_is_told(spoil, message, album):
    folder, _ = album
    spoil(folder)
    with pytest.raises(Problem, match=message):
        load(folder)


def test_a_further_column_may_name_groups(album):
    folder, _ = album
    table = pd.read_csv(folder / "train.csv").assign(by=[f"w{row % 4}" for row in range(ROWS)])
    table.to_csv(folder / "train.csv", index=False)
    (folder / FILE).write_text('group = "by"')
    assert len(set(load(folder).groups)) == 4
