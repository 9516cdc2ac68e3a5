"""Extraction of pretrained features, with a network of one operation in place of the real one."""

import pickle
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mean_extractor import MeanExtractor
from PIL import Image

from competition.crossval import extraction
from competition.crossval.extraction import Extraction, extract_features, with_features
from competition.crossval.folds import make_folds
from competition.crossval.provenance import provenance_of
from competition.crossval.task import input_shape, select_inputs
from competition.data.config import Config
from competition.data.dataset import load_dataset, pack_dataset, package_name, unpack_dataset
from competition.data.pictures import split_into_chunks
from competition.data.practice import write_competition
from competition.errors import UserError
from competition.models.member import Member
from competition.workers.base import Workers, prefers_gpu

MEMBER = Member.parse("features-linear")
ROWS = 10


class InlineWorkers(Workers):
    """Runs tasks in this process and counts them."""

    tasks = gpu_tasks = 0
    jobs = 1

    def __init__(self, share_files=True):
        self.share_files = share_files

    @contextmanager
    def open_pool(self, function):
        raise NotImplementedError

    def run(self, function, take, on_event):
        while task := take(lambda task: True):
            self.tasks += 1
            self.gpu_tasks += prefers_gpu(task)
            sent_function, sent_task = (function, task) if self.share_files else pickle_and_unpickle(function, task)
            yield task, sent_function(sent_task, lambda payload: None)


def pickle_and_unpickle(*values):
    """What arrives on another machine, which does not have this machine's files."""
    content = pickle.dumps(values)
    assert b".png" not in content or b"/images/" not in content
    return pickle.loads(content)


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


@pytest.fixture
def noisy(folder):
    """The same pictures, of which the first has more bytes than its pixels at the size of the network."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "0.png")
    return with_features(load_dataset(folder), folder, Config())


def test_workers_elsewhere_get_the_files_or_smaller_pixels(folder, noisy, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_ROWS", 4)
    weights = tmp_path / "weights"
    weights.write_bytes(b"any")
    extractor = MeanExtractor(file=weights)
    here = Extraction(extractor, folder, Config())
    extract_features(here, noisy, InlineWorkers(), lambda done, total: None)
    expected = np.array(select_inputs(MEMBER, noisy))
    shutil.rmtree(noisy.features.folder)
    elsewhere = InlineWorkers(share_files=False)
    extract_features(here, noisy, elsewhere, lambda done, total: None)
    np.testing.assert_array_equal(select_inputs(MEMBER, noisy), expected)
    assert elsewhere.tasks == 3 and len(np.unique(expected[:, 0, 0])) == ROWS


@pytest.mark.integration
def test_a_cluster_extracts_the_same(folder, shades, cluster, tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"any")
    here = Extraction(MeanExtractor(file=weights), folder, Config())
    extract_features(here, shades, cluster.workers(), lambda done, total: None)
    np.testing.assert_allclose(select_inputs(MEMBER, shades)[:, 0, 0], 20 / 3 * np.arange(ROWS), rtol=0.05)


def test_features_of_test_images_alone(dataset, competition_copy):
    here = Extraction(MeanExtractor(), competition_copy, Config())
    features = extraction.extract_test_features(here, dataset, InlineWorkers())
    expected = dataset.test_images[:, :, :8].mean(axis=(1, 2, 3))
    assert features.shape == (len(dataset.test_images), 2, 1280)
    np.testing.assert_allclose(features[:, 0, 0], expected, rtol=0.2, atol=10)


def test_the_estimate_is_0_once_features_are_extracted(folder, shades):
    extractor = MeanExtractor()
    first = extraction.estimate_seconds(shades, extractor)
    extract(folder, shades)
    assert 0 < first < 60 and extraction.estimate_seconds(shades, extractor) == 0


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


@pytest.mark.parametrize("share_files", [True, False])
@pytest.mark.parametrize(("kind", "wants_gpu"), [("onnx", False), ("keras", True)])
def test_networks_that_run_only_on_processors_leave_gpus_alone(kind, wants_gpu, share_files, folder, shades, tmp_path):
    (weights := tmp_path / "weights").write_bytes(b"any")
    workers, extractor = InlineWorkers(share_files), MeanExtractor(kind=kind, file=weights)
    extract_features(Extraction(extractor, folder, Config()), shades, workers, lambda done, total: None)
    assert workers.tasks == 3 and workers.gpu_tasks == 3 * wants_gpu


def test_what_a_killed_extraction_left_is_removed(folder, shades):
    parent = shades.features.folder.parent
    for moment in ("before the extraction", "after it"):
        for name in (shades.features.folder.name, "another-network"):
            (parent / f"{name}.partial").mkdir(parents=True)
        extract(folder, shades)
        assert [path.name for path in parent.glob("*.partial")] == [], moment


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


def test_features_are_packed_with_the_data_set(folder, shades, tmp_path):
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
    assert provenance_of(MEMBER, shades, folds)["features"] == shades.features.digest
    assert "features" not in provenance_of(Member.parse("knn"), shades, folds)


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


def test_pictures_alongside_tables_of_pixels_are_not_extracted(tmp_path):
    folder = tmp_path / "tables"
    write_competition(folder, *[np.full((3, 75), 9, np.uint8), np.array([0, 1, 0])] * 2)
    Image.new("RGB", (8, 8)).save(folder / "logo.png")
    chunks = split_into_chunks(folder, load_dataset(folder), Config(), rows=2)
    assert [(chunk.part, chunk.start, chunk.stop, chunk.paths) for chunk in chunks] == [
        (part, start, stop, ()) for part in ("train", "test") for start, stop in ((0, 2), (2, 3))
    ]
