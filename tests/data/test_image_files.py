import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.data import image_files
from competition.data.config import CONFIG_FILE
from competition.data.dataset import load_dataset
from competition.data.sources import ensure_files
from competition.errors import UserError
from competition.submission.format import Sample, read_submission, write_submission

ROWS, TEST_ROWS = 30, 8


@pytest.fixture
def competition(tmp_path):
    """A competition with colour images of 12x10; its names have no suffixes. Returns its folder and the pixels."""
    folder = tmp_path / "data" / "signs"
    images = np.random.default_rng(0).integers(0, 256, (ROWS + TEST_ROWS, 10, 12, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        path = folder / ("train" if row < ROWS else "test") / f"{row % 3}" / f"sign-{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    names = [f"{row % 3}/sign-{row:03}" for row in range(ROWS + TEST_ROWS)]
    labels = [("stop", "yield", "left")[row % 3] for row in range(ROWS)]
    pd.DataFrame({"file": names[:ROWS], "sign": labels}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"file": names[ROWS:], "sign": "stop"}).to_csv(folder / "sample_submission.csv", index=False)
    return folder, images


def test_images_are_matched_to_their_rows(competition):
    folder, images = competition
    dataset = load_dataset(folder)
    assert (dataset.images == images[:ROWS]).all() and (dataset.test_images == images[ROWS:]).all()
    assert dataset.classes.tolist() == ["left", "stop", "yield"] and dataset.classes[dataset.labels[0]] == "stop"
    predictions = np.eye(3)[np.arange(TEST_ROWS) % 3]
    write_submission(predictions, dataset, Sample(folder / "sample_submission.csv"), folder / "mine.csv")
    assert (
        read_submission(folder / "mine.csv", Sample(folder / "sample_submission.csv"), dataset.classes) == predictions
    ).all()
    submission = pd.read_csv(folder / "mine.csv")
    assert submission["file"][0] == "0/sign-030" and submission["sign"].tolist()[:3] == ["left", "stop", "yield"]


def test_other_columns_are_ignored(competition):
    folder, images = competition
    table = pd.read_csv(folder / "train.csv").assign(age=7)
    table.to_csv(folder / "train.csv", index=False)
    assert (load_dataset(folder).images == images[:ROWS]).all()
    table.rename(columns={"file": "scan", "sign": "kind"}).to_csv(folder / "train.csv", index=False)
    (folder / CONFIG_FILE).write_text('label = "kind"\nid = "scan"')
    assert (load_dataset(folder).images == images[:ROWS]).all()


def test_names_with_a_folder_prefix_are_accepted(competition):
    folder, images = competition
    table = pd.read_csv(folder / "train.csv")
    table.assign(file="train/" + table["file"] + ".png").to_csv(folder / "train.csv", index=False)
    assert (load_dataset(folder).images == images[:ROWS]).all()


@pytest.mark.parametrize("nested", [False, True])
def test_an_archive_per_folder_is_extracted(nested, competition, tmp_path):
    folder, images = competition
    target = tmp_path / "data" / "packed"
    target.mkdir()
    for name in ("train", "test"):
        with zipfile.ZipFile(target / f"{name}.zip", "w") as members:
            for path in sorted((folder / name).rglob("*.png")):
                members.write(path, path.relative_to(folder if nested else folder / name))
    for name in ("train.csv", "sample_submission.csv"):
        (folder / name).rename(target / name)
    if nested:
        with zipfile.ZipFile(target / "signs.zip", "w") as members:
            for path in [file for file in target.iterdir() if file.name != "signs.zip"]:
                members.write(path, path.name)
                path.unlink()
    ensure_files("packed", target)
    assert (load_dataset(target).images == images[:ROWS]).all()


def test_an_archive_of_the_whole_competition_is_extracted(competition, tmp_path):
    folder, images = competition
    target = tmp_path / "data" / "packed"
    target.mkdir()
    with zipfile.ZipFile(target / "signs.zip", "w") as members:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            members.write(path, f"signs/{name.parts[0]}/{name}" if len(name.parts) > 1 else f"signs/{name}")
    ensure_files("packed", target)
    assert (load_dataset(target).images == images[:ROWS]).all()
    tables = {"sample_submission.csv", "train.csv"}
    assert {path.name for path in target.iterdir()} == {"cache", "signs.zip", "test", "train", *tables}


def test_names_with_suffixes_and_grey_images_are_read(competition):
    folder, images = competition
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path.with_suffix(".JPG"), quality=95)
        path.unlink()
    table = pd.read_csv(folder / "train.csv")
    table.assign(file=table["file"] + ".jpg").to_csv(folder / "train.csv", index=False)
    dataset = load_dataset(folder)
    assert dataset.images.shape == (ROWS, 10, 12, 1)
    assert abs(dataset.images[..., 0] - images[:ROWS].mean(axis=3)).mean() < 60


def test_images_are_resized_to_the_configured_shape(competition):
    folder, _ = competition
    (folder / CONFIG_FILE).write_text("shape = [16, 16]")
    assert load_dataset(folder).images.shape == (ROWS, 16, 16, 1)


def test_the_digest_depends_on_pixels_and_not_on_file_times(competition):
    folder, images = competition
    first = load_dataset(folder).digest
    path = folder / "train" / "0" / "sign-000.png"
    os.utime(path, (1, 1))
    assert load_dataset(folder).digest == first
    Image.fromarray(images[1]).save(path)
    assert load_dataset(folder).digest != first


def test_images_are_read_in_batches(competition, monkeypatch):
    folder, images = competition
    monkeypatch.setattr(image_files, "BATCH_BYTES", 7 * 360)
    monkeypatch.setattr(image_files, "PROGRESS_STEP", 4)
    assert (load_dataset(folder).images == images[:ROWS]).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "train/1/sign-004.png").unlink(),
            r"row 5 \(line 6\), column file: expected .* found '1/sign-004",
        ),
        (
            lambda folder: (folder / "test/0/sign-030.png").unlink(),
            r"sample_submission\.csv: row 1 .* found '0/sign-030",
        ),
        (
            lambda folder: (folder / "test/0/sign-030.png").write_bytes(b"<html>"),
            r"cannot read the image .*sign-030\.png",
        ),
        (lambda folder: (folder / "train/1/sign-004.JPG").touch(), "differ only in their extension; remove one"),
        (
            lambda folder: (pd.read_csv(folder / "train.csv").assign(by="me").rename(columns={"sign": "kind"})).to_csv(
                folder / "train.csv", index=False
            ),
            r"train\.csv has columns file, kind, by; which of them is the label\? Set it in .*label = ",
        ),
        (
            lambda folder: (folder / "sample_submission.csv").unlink(),
            r"sample_submission\.csv is missing, but there are test images",
        ),
    ],
)
def test_invalid_image_folders_are_rejected(damage, message, competition):
    folder, _ = competition
    damage(folder)
    with pytest.raises(UserError, match=message):
        load_dataset(folder)


def test_a_group_column_is_read(competition):
    folder, _ = competition
    table = pd.read_csv(folder / "train.csv").assign(by=[f"w{row % 4}" for row in range(ROWS)])
    table.to_csv(folder / "train.csv", index=False)
    (folder / CONFIG_FILE).write_text('group = "by"')
    assert len(set(load_dataset(folder).groups)) == 4
