"""Files that are cut short or have a bit turned over: read as they were, mended, or refused with a remedy."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_log import ORIGIN, submitted

from competition.crossval.folds import frozen
from competition.crossval.run import cross_validate, unfinished
from competition.crossval.store import Store
from competition.data import dataset as data
from competition.errors import Problem
from competition.models.member import Member
from competition.submission.log import Ledger
from competition.tuning.storage import open_storage, stored
from competition.tuning.study import Study
from competition.workers.local import LocalWorkers

KNN = Member.named("knn")


@pytest.fixture
def faults(record_property):
    """Counts the faults that a test tried, for the suite's last line."""
    return lambda number=1: record_property("faults", number)


def deaf(*said):
    pass


def damages(path: Path, flips: int) -> Iterator[str]:
    """Spoil the file in many ways, one after the other; it is whole again in the end."""
    whole, chance = path.read_bytes(), random.Random(path.name)
    try:
        for size in (0, len(whole) // 3, len(whole) - 1):
            path.write_bytes(whole[:size])
            yield f"cut to {size} bytes"
        for _ in range(flips):
            spoilt, place, bit = bytearray(whole), chance.randrange(len(whole)), chance.randrange(8)
            spoilt[place] ^= 1 << bit
            path.write_bytes(spoilt)
            yield f"bit {bit} of byte {place} turned over"
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset) -> Path:
    """A folder of folds in which knn is complete."""
    folder = tmp_path_factory.mktemp("trained")
    store = Store(folder, dataset, frozen(dataset, folder, 3, 0))
    list(cross_validate(store, [KNN], LocalWorkers(2), deaf))
    return folder


@pytest.fixture
def store(trained, dataset, tmp_path) -> Store:
    """A copy of it to spoil."""
    folder = Path(shutil.copytree(trained, tmp_path / "folds"))
    return Store(folder, dataset, frozen(dataset, folder, 3, 0))


def part(store: Store, name: str) -> Path:
    return store.folder / store.folds.name / name


def test_damaged_predictions_are_named_and_only_that_fold_is_trained_again(store, faults):
    before = {path: path.read_bytes() for path in store.folder.rglob("*.npz")}
    stamps = {path: path.stat().st_mtime_ns for path in before}
    path = part(store, "knn/fold-1.npz")
    for damage in damages(path, flips=1):
        reasons = {task.name: reason for task, reason in unfinished(store, [KNN]).items()}
        assert list(reasons) == ["knn fold 1"] and f"{path} is damaged" in reasons["knn fold 1"], damage
        faults()
    path.write_bytes(path.read_bytes()[:-1])
    list(cross_validate(store, [KNN], LocalWorkers(1), deaf))
    assert {path: path.read_bytes() for path in before} == before
    assert [one for one in stamps if one.stat().st_mtime_ns != stamps[one]] == [path]


def test_a_damaged_split_is_refused_and_dealt_again_as_it_was(store, dataset, faults):
    path = part(store, "split.csv")
    whole = path.read_bytes()
    for damage in damages(path, flips=60):
        try:
            assert frozen(dataset, store.folder, 3, 0).digest == store.folds.digest, damage
        except Problem as problem:
            assert str(problem).startswith(f"{path} ") and f"mv {path.parent} " in str(problem), damage
        faults()
    path.unlink()
    frozen(dataset, store.folder, 3, 0)
    assert path.read_bytes() == whole


def test_a_damaged_time_is_named_and_without_it_all_goes_on(store, faults):
    path = part(store, "knn/fold-2.json")
    for damage in damages(path, flips=40):
        try:
            assert store.predictions(KNN).seconds > 0, damage
        except Problem as problem:
            assert f"{path} is damaged" in str(problem) and f"rm {path}" in str(problem), damage
        faults()
    path.unlink()
    assert store.predictions(KNN).complete


def test_a_damaged_model_is_named_with_what_trains_it_again(store, dataset, faults):
    path = part(store, "knn/fold-0.skops")
    said = store.kept(KNN, 0).predict_proba(dataset.test_images[:5])
    for damage in damages(path, flips=12):
        try:
            assert (store.kept(KNN, 0).predict_proba(dataset.test_images[:5]) == said).all(), damage
        except Problem as problem:
            mend = f"rm {path.with_suffix('.npz')} && make cv MODELS=knn"
            assert f"{path} cannot be loaded" in str(problem) and mend in str(problem), damage
        faults()


@pytest.mark.parametrize("name", ["images", "labels", "test_ids"])
def test_a_damaged_cache_is_named_and_made_again(name, own_competition, dataset, capsys, faults):
    cache = data.load(own_competition).cache
    for damage in damages(cache / f"{name}.npy", flips=3):
        assert (np.asarray(getattr(data.load(own_competition), name)) == getattr(dataset, name)).all(), damage
        told = capsys.readouterr().err
        assert told == f"{cache / name}.npy is damaged; {own_competition} is parsed anew\n", damage
        faults()
    (cache / "digest").write_text("another")
    assert data.load(own_competition).digest == dataset.digest
    assert "digest is damaged" in capsys.readouterr().err
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


@pytest.mark.slow
def test_damaged_studies_are_refused_and_damaged_trials_are_named(dataset, tmp_path, capsys, faults):
    folds = frozen(dataset, tmp_path, 3, 0)

    def trials():
        with open_storage(None, tmp_path) as storage, stored(None, tmp_path):
            found = Study("digits8", KNN, dataset, folds, 0.3, storage).trials
            return {trial.number: (trial.params, trial.value) for trial in found if trial.state.is_finished()}

    with open_storage(None, tmp_path) as storage:
        list(Study("digits8", KNN, dataset, folds, 0.3, storage).run(LocalWorkers(2), 3, deaf))
    path = tmp_path / "studies.db"
    known = trials()
    for damage in damages(path, flips=60):
        try:
            found = trials()
            told = capsys.readouterr().err
            lost = [number for number in known if found.get(number) != known[number]]
            assert lost == [] or f"trial {lost[0]} of " in told or damage.startswith("cut to 0 "), damage
        except Problem as problem:
            assert str(path) in str(problem) and f"mv {path} {path}.old" in str(problem), damage
        faults()


def test_a_damaged_ledger_is_refused_and_made_again_from_the_cards(tmp_path, faults):
    ledger = Ledger(tmp_path / "submissions")
    for how in ("mean", "auto", "convex"):
        submitted(ledger, replace(ORIGIN, blend=how), "aab", "quick")
    whole = ledger.lines().drop(columns="when")
    for damage in damages(ledger.path, flips=60):
        try:
            assert len(ledger.lines()) == 3 or damage.startswith("cut"), damage
        except Problem as problem:
            told = f"mv {ledger.path} {ledger.path}.old"
            assert f"{ledger.path} is damaged" in str(problem) and told in str(problem), damage
        faults()
    ledger.path.unlink()
    submitted(ledger, ORIGIN, "aab", "quick")
    assert ledger.path.exists() and ledger.lines().drop(columns="when").equals(whole)


def test_a_damaged_card_is_named(tmp_path, faults):
    ledger = Ledger(tmp_path / "submissions")
    path = submitted(ledger, ORIGIN, "aab", "quick").folder / "card.json"
    for damage in damages(path, flips=40):
        try:
            json.dumps(ledger.opened(ORIGIN).line)
        except Problem as problem:
            assert f"{path} is damaged" in str(problem) and f"rm {path}" in str(problem), damage
        faults()
