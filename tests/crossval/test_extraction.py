"""Extraction of pretrained features, with a network of one operation in place of the real one."""

import pickle
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.crossval import extraction
from competition.crossval.extraction import Extraction, extract_features, with_features
from competition.crossval.folds import make_folds
from competition.crossval.provenance import ingredients
from competition.crossval.task import input_shape, select_inputs
from competition.data.config import Config
from competition.data.dataset import load_dataset, pack_dataset, package_name, unpack_dataset
from competition.errors import UserError
from competition.models.member import Member
from competition.models.pretrained.extractor import Extractor
from competition.workers.base import Workers

MEMBER = Member.parse("features-linear")
ROWS = 10


@dataclass(frozen=True)
class MeanExtractor(Extractor):
    """Mean of the left half of an image, in each of 1,280 features."""

    size: int = 32

    def extract(self, images):
        means = [half.mean(axis=(1, 2, 3)) for half in (images[:, :, :16], images[:, :, 16:])]
        return np.repeat(np.stack(means, axis=1)[..., None], 1280, axis=2).astype(np.float16)


class InlineWorkers(Workers):
    """Runs tasks in this process and counts them."""

    tasks = 0
    jobs = 1

    @contextmanager
    def open_pool(self, function):
        raise NotImplementedError

    def run(self, function, take, on_event):
        while task := take(lambda task: True):
            self.tasks += 1
            yield task, function(task, lambda payload: None)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures whose left halves get brighter with their number."""
    folder = tmp_path / "data" / "shades"
    (folder / "images").mkdir(parents=True)
    for number in range(ROWS):
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[:, :40, 0] = 20 * number
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    labels = ["dark" if number < 5 else "light" for number in range(ROWS)]
    names = [f"{number}.png" for number in range(ROWS)]
    pd.DataFrame({"filename": names, "label": labels}).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def shades(folder, monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_ROWS", 4)
    return with_features(load_dataset(folder), folder, Config())


def extract(folder, dataset, on_progress=lambda done, total: None) -> int:
    """Extract the features; the number of chunks that this took."""
    workers = InlineWorkers()
    extract_features(Extraction(MeanExtractor(), folder, Config()), dataset, workers, on_progress)
    return workers.tasks


def test_features_are_read_from_the_files_in_the_order_of_the_rows(folder, shades):
    assert extract(folder, shades) == 3
    features = select_inputs(MEMBER, shades)
    assert features.shape == (ROWS, 2, 1280) and input_shape(MEMBER, shades) == (2, 1280)
    np.testing.assert_allclose(features[:, 0, 0], 20 / 3 * np.arange(ROWS), rtol=0.05)
    assert select_inputs(MEMBER, shades, test=True).shape == (0, 2, 1280)
    assert extract(folder, shades) == 0


def test_a_killed_extraction_goes_on(folder, shades):
    def kill(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(folder, shades, kill)
    with pytest.raises(UserError, match=r"is missing; extract the features again: make cv COMPETITION=shades"):
        select_inputs(MEMBER, shades)
    progress = []
    assert extract(folder, shades, lambda done, total: progress.append((done, total))) == 1
    assert progress == [(8, ROWS), (ROWS, ROWS)]
    assert [path.name for path in shades.features.folder.parent.iterdir() if not path.name.startswith(".")] == [
        shades.features.folder.name
    ]


def test_a_damaged_chunk_is_extracted_again(folder, shades):
    def damage(done, total):
        if done == 8:
            (chunk, *_) = shades.features.folder.with_suffix(".partial").iterdir()
            content = bytearray(chunk.read_bytes())
            content[len(content) // 2] ^= 1
            chunk.write_bytes(content)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(folder, shades, damage)
    assert extract(folder, shades) == 2


def test_damaged_features_are_removed(folder, shades, capsys):
    extract(folder, shades)
    shades.features.remove_if_damaged()
    assert shades.features.are_complete
    path = shades.features.folder / "train.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    shades.features.remove_if_damaged()
    assert not shades.features.are_complete and "is damaged; extracting features again" in capsys.readouterr().err


def test_features_travel_with_the_data_set(folder, shades, tmp_path):
    assert package_name(shades) == shades.digest
    extract(folder, shades)
    name = package_name(shades)
    assert name == f"{shades.digest}-{shades.features.digest}"
    (tmp_path / f"{name}.zip").write_bytes(pack_dataset(shades))
    for copy in (unpack_dataset(tmp_path / f"{name}.zip"), pickle.loads(pickle.dumps(shades))):
        np.testing.assert_array_equal(select_inputs(MEMBER, copy), select_inputs(MEMBER, shades))
        assert copy.features.digest == shades.features.digest


def test_the_fingerprint_contains_the_features(shades):
    folds = make_folds(shades, 2, 0)
    assert ingredients(MEMBER, shades, folds)["features"] == shades.features.digest
    assert "features" not in ingredients(Member.parse("knn"), shades, folds)


def test_pretrained_networks_are_used_by_default_for_coloured_images_of_some_size(folder, dataset):
    def is_used(data, **settings) -> bool:
        return with_features(data, folder, Config(**settings)).features is not None

    shades = load_dataset(folder)
    assert is_used(shades) and not is_used(shades, pretrained=False)
    assert not is_used(dataset) and is_used(dataset, pretrained=True)
    assert not is_used(replace(dataset, images=np.zeros((9, 48, 48, 3), np.uint8)))
    assert is_used(replace(dataset, images=np.zeros((9, 49, 40, 3), np.uint8)))
    with pytest.raises(UserError, match=r"uses no pretrained network; set pretrained = true in .*competition\.toml"):
        select_inputs(MEMBER, dataset)


def test_pixels_in_tables_are_enlarged(dataset, competition_copy):
    enlarged = with_features(dataset, competition_copy, Config(pretrained=True))
    assert extract(competition_copy, enlarged) == 4
    features = select_inputs(MEMBER, enlarged)
    expected = dataset.images[:, :, :8].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(features[:, 0, 0], expected, rtol=0.2, atol=10)
    assert len(select_inputs(MEMBER, enlarged, test=True)) == len(dataset.test_images)
