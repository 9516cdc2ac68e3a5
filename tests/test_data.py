import pickle

import numpy as np
import pytest

from competition import data
from competition.data import load
from competition.problem import Problem


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
