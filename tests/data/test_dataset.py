import pickle
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from competition.data import tables
from competition.data.dataset import _save_array, load_dataset, pack_dataset, package_name, unpack_dataset
from competition.errors import DiskError


def test_the_cache_is_reused_until_the_files_change(competition_copy):
    first = load_dataset(competition_copy)
    stamp = (first.cache / "images.npy").stat().st_mtime_ns
    second = load_dataset(competition_copy)
    assert isinstance(second.images, np.memmap) and (second.cache / "images.npy").stat().st_mtime_ns == stamp
    train = competition_copy / "train.csv"
    train.write_text(train.read_text() + train.read_text().splitlines()[-1] + "\n")
    assert load_dataset(competition_copy).digest != first.digest


@pytest.mark.parametrize(("channels", "colour"), [(1, ""), (3, " in colour")])
def test_the_width_of_images_is_named_before_their_height(dataset, channels, colour):
    images = np.zeros((len(dataset.images), 6, 8, channels), np.uint8)
    assert replace(dataset, images=images).summary == f"600 training and 200 test images of 8x6 pixels{colour}"


def test_a_pickled_dataset_is_only_the_path_of_its_cache(dataset):
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1_000
    assert (pickle.loads(pickled).images == dataset.images).all()


def test_two_processes_can_parse_the_same_files_concurrently(competition_copy, monkeypatch):
    read_arrays = tables.read_arrays

    def read_slowly(*arguments):
        arrays = read_arrays(*arguments)
        monkeypatch.setattr(tables, "read_arrays", read_arrays)
        load_dataset(competition_copy)  # another process, which finishes first
        return arrays

    monkeypatch.setattr(tables, "read_arrays", read_slowly)
    loaded = load_dataset(competition_copy)
    assert [path.name for path in loaded.cache.parent.iterdir()] == [loaded.cache.name]


def test_a_failed_cache_write_leaves_no_files(competition_copy):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskError, match=r"cannot write .*cache/\w+ \(File too large\); check the disk of "):
            load_dataset(competition_copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((competition_copy / "cache").iterdir()) == []


MEASURE_MEMORY = """
import resource, sys
from pathlib import Path
from competition.data import dataset, tables

tables.CHUNK_PIXELS = 2**22
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = dataset.load_dataset(Path(sys.argv[1])).images
print(*images.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_parsing_needs_less_memory_than_the_table(tmp_path):
    rows, pixels = 8_000, 64 * 64 * 3
    names = ",".join(f"pixel{number}" for number in range(pixels))
    values = ",".join(str(number % 256) for number in range(pixels))
    for file, first, count in (("train.csv", "label,", rows), ("test.csv", "", 10)):
        with (tmp_path / file).open("w") as table:
            table.write(f"{first}{names}\n")
            table.writelines(f"{row % 2},{values}\n" if first else f"{values}\n" for row in range(count))
    pd.DataFrame({"id": range(1, 11), "label": 0}).to_csv(tmp_path / "sample_submission.csv", index=False)
    process = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY, tmp_path], cwd=ROOT, text=True, capture_output=True, check=True
    )
    *shape, growth = map(int, process.stdout.split())
    assert shape == [rows, 64, 64, 3] and growth < 200  # MB; the whole table takes 790, the images 98


@pytest.mark.parametrize("array", [np.array(["a", "Ä"]), np.eye(3).T, np.zeros((0, 5), np.float32), np.arange(3) > 1])
def test_arrays_are_saved_as_numpy_does(array, tmp_path):
    np.save(tmp_path / "expected.npy", np.ascontiguousarray(array))
    _save_array(tmp_path / "actual.npy", array)
    assert (tmp_path / "actual.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_a_packed_data_set_is_unpacked_once(dataset, tmp_path):
    path = tmp_path / f"{package_name(dataset)}.zip"
    path.write_bytes(pack_dataset(dataset))
    first = unpack_dataset(path)
    files = {file: file.stat().st_mtime_ns for file in first.cache.iterdir()}
    second = unpack_dataset(path)
    assert {file: file.stat().st_mtime_ns for file in second.cache.iterdir()} == files
    assert (second.images == dataset.images).all() and (second.labels == dataset.labels).all()
