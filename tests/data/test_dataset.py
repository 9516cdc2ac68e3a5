import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from competition.data import dataset as data
from competition.data.dataset import load
from competition.errors import Problem


def test_the_second_read_maps_the_cache_and_changed_files_make_another(own_competition):
    first = load(own_competition)
    stamp = (first.cache / "images.npy").stat().st_mtime_ns
    second = load(own_competition)
    assert isinstance(second.images, np.memmap) and (second.cache / "images.npy").stat().st_mtime_ns == stamp
    train = own_competition / "train.csv"
    train.write_text(train.read_text() + train.read_text().splitlines()[-1] + "\n")
    assert load(own_competition).digest != first.digest


def test_a_dataset_travels_as_the_place_of_its_cache(dataset):
    sent = pickle.dumps(dataset)
    assert len(sent) < 1_000
    assert (pickle.loads(sent).images == dataset.images).all()


def test_two_processes_may_parse_the_same_files_at_once(own_competition, monkeypatch):
    read = data.tables.read

    def read_slowly(*where):
        arrays = read(*where)
        monkeypatch.setattr(data.tables, "read", read)
        load(own_competition)  # the other process, faster
        return arrays

    monkeypatch.setattr(data.tables, "read", read_slowly)
    loaded = load(own_competition)
    assert [path.name for path in loaded.cache.parent.iterdir()] == [loaded.cache.name]


def test_a_cache_that_cannot_be_finished_leaves_nothing(own_competition, monkeypatch):
    def full(*what, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data.np, "save", full)
    with pytest.raises(Problem, match=r"cannot be written \(No space left.*make room"):
        load(own_competition)
    assert not list((own_competition / "cache").iterdir())


READING = """
import resource, sys
from pathlib import Path
from competition.data import dataset as data, tables

tables.AT_A_TIME = 2**22
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = data.load(Path(sys.argv[1])).images
print(*images.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_competition_need_not_fit_the_memory(tmp_path):
    rows, pixels = 8_000, 64 * 64 * 3
    names = ",".join(f"pixel{number}" for number in range(pixels))
    values = ",".join(str(number % 256) for number in range(pixels))
    for file, first, count in (("train.csv", "label,", rows), ("test.csv", "", 10)):
        with (tmp_path / file).open("w") as table:
            table.write(f"{first}{names}\n")
            table.writelines(f"{row % 2},{values}\n" if first else f"{values}\n" for row in range(count))
    pd.DataFrame({"id": range(1, 11), "label": 0}).to_csv(tmp_path / "sample_submission.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-c", READING, tmp_path], cwd=ROOT, text=True, capture_output=True, check=True
    )
    *shape, grown = map(int, done.stdout.split())
    assert shape == [rows, 64, 64, 3] and grown < 200  # MB; as a whole the table has 790, the images 98
