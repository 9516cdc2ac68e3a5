"""Files with missing bytes or flipped bits are read correctly, rebuilt, or rejected with a remedy."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from submission.test_log import RUN, submit

from competition.crossval.folds import load_or_make_folds
from competition.crossval.run import cross_validate, pending_tasks
from competition.crossval.store import Store
from competition.data.config import Config
from competition.data.dataset import load_dataset
from competition.errors import UserError
from competition.models.member import Member
from competition.submission.log import SubmissionLog
from competition.tuning.driver import run_trials
from competition.tuning.storage import explain_storage_errors, open_storage
from competition.tuning.study import Study, StudyContext
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

KNN = Member.parse("knn")


@pytest.fixture
def faults(record_property):
    """Count the injected faults for the last line of the test report."""
    return lambda number=1: record_property("faults", number)


def damages(path: Path, flips: int) -> Iterator[str]:
    """Truncate the file and flip bits of it, one damage at a time; restore it at the end."""
    content, rng = path.read_bytes(), random.Random(path.name)
    try:
        for size in (0, len(content) // 3, len(content) - 1):
            path.write_bytes(content[:size])
            yield f"truncated to {size} bytes"
        for _ in range(flips):
            damaged, index, bit = bytearray(content), rng.randrange(len(content)), rng.randrange(8)
            damaged[index] ^= 1 << bit
            path.write_bytes(damaged)
            yield f"bit {bit} of byte {index} flipped"
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset) -> Path:
    """A folds folder with complete predictions of knn."""
    folder = tmp_path_factory.mktemp("trained")
    store = Store(folder, dataset, load_or_make_folds(dataset, folder, 3, 0))
    list(cross_validate(store, [KNN], LocalWorkers(2), ignore_event))
    return folder


@pytest.fixture
def store(trained, dataset, tmp_path) -> Store:
    """A store with a copy of the predictions, to be damaged."""
    folder = Path(shutil.copytree(trained, tmp_path / "folds"))
    return Store(folder, dataset, load_or_make_folds(dataset, folder, 3, 0))


def split_file(store: Store, name: str) -> Path:
    return store.folder / store.folds.name / name


@pytest.mark.integration
def test_only_the_fold_with_damaged_predictions_is_retrained(store, faults):
    before = {path: path.read_bytes() for path in store.folder.rglob("*.npz")}
    times = {path: path.stat().st_mtime_ns for path in before}
    path = split_file(store, "knn/fold-1.npz")
    for damage in damages(path, flips=1):
        reasons = {task.name: reason for task, reason in pending_tasks(store, [KNN]).items()}
        assert list(reasons) == ["knn fold 1"] and f"{path} is damaged" in reasons["knn fold 1"], damage
        faults()
    path.write_bytes(path.read_bytes()[:-1])
    list(cross_validate(store, [KNN], LocalWorkers(1), ignore_event))
    assert {path: path.read_bytes() for path in before} == before
    assert [other for other in times if other.stat().st_mtime_ns != times[other]] == [path]


def test_a_damaged_split_is_rejected_and_can_be_recreated(store, dataset, faults):
    path = split_file(store, "split.csv")
    content = path.read_bytes()
    for damage in damages(path, flips=60):
        try:
            assert load_or_make_folds(dataset, store.folder, 3, 0).digest == store.folds.digest, damage
        except UserError as error:
            assert str(error).startswith(f"{path} ") and f"mv {path.parent} " in str(error), damage
        faults()
    path.unlink()
    load_or_make_folds(dataset, store.folder, 3, 0)
    assert path.read_bytes() == content


def test_a_damaged_fold_record_is_rejected_and_a_missing_one_is_not_an_error(store, faults):
    path = split_file(store, "knn/fold-2.json")
    for damage in damages(path, flips=40):
        try:
            assert store.predictions(KNN).seconds > 0, damage
        except UserError as error:
            assert f"{path} is damaged" in str(error) and f"rm {path}" in str(error), damage
        faults()
    path.unlink()
    assert store.predictions(KNN).complete


def test_a_damaged_model_is_rejected_with_the_command_that_retrains_it(store, dataset, faults):
    path = split_file(store, "knn/fold-0.skops")
    probabilities = store.load_model(KNN, 0).predict_proba(dataset.test_images[:5])
    for damage in damages(path, flips=12):
        try:
            assert (store.load_model(KNN, 0).predict_proba(dataset.test_images[:5]) == probabilities).all(), damage
        except UserError as error:
            remedy = f"rm {path.with_suffix('.npz')} && {store.command('cv', models='knn')}"
            assert f"cannot load {path}" in str(error) and remedy in str(error), damage
        faults()


@pytest.mark.parametrize("name", ["images", "labels", "test_ids"])
def test_a_damaged_cache_is_reported_and_rebuilt(name, competition_copy, dataset, capsys, faults):
    cache = load_dataset(competition_copy).cache
    for damage in damages(cache / f"{name}.npy", flips=3):
        assert (np.asarray(getattr(load_dataset(competition_copy), name)) == getattr(dataset, name)).all(), damage
        message = capsys.readouterr().err
        assert message == f"{cache / name}.npy is damaged; parsing {competition_copy} again\n", damage
        faults()
    (cache / "digest").write_text("another")
    assert load_dataset(competition_copy).digest == dataset.digest
    assert "digest is damaged" in capsys.readouterr().err
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


@pytest.mark.slow
def test_damaged_studies_are_rejected_and_damaged_trials_reported(dataset, tmp_path, capsys, faults):
    folds = load_or_make_folds(dataset, tmp_path, 3, 0)

    def finished_trials():
        with open_storage(None, tmp_path) as storage, explain_storage_errors(None, tmp_path):
            trials = Study(StudyContext("digits8", Config(), dataset, storage), KNN, folds, 0.3).trials
            return {trial.number: (trial.params, trial.value) for trial in trials if trial.state.is_finished()}

    with open_storage(None, tmp_path) as storage:
        study = Study(StudyContext("digits8", Config(), dataset, storage), KNN, folds, 0.3)
        list(run_trials(study, LocalWorkers(2), 3, ignore_event))
    path = tmp_path / "studies.db"
    expected = finished_trials()
    for damage in damages(path, flips=60):
        try:
            finished = finished_trials()
            message = capsys.readouterr().err
            lost = [number for number in expected if finished.get(number) != expected[number]]
            assert lost == [] or f"trial {lost[0]} of " in message or damage.startswith("truncated to 0 "), damage
        except UserError as error:
            assert str(path) in str(error) and f"mv {path} {path}.old" in str(error), damage
        faults()


def test_a_damaged_log_is_rejected_and_can_be_rebuilt_from_metadata(tmp_path, faults):
    log = SubmissionLog(tmp_path / "submissions")
    for blender in ("mean", "auto", "convex"):
        submit(log, replace(RUN, blend=blender), "aab", "quick")
    expected = log.read().drop(columns="when")
    for damage in damages(log.path, flips=60):
        try:
            # A changed name or number is a row of another submission, to which the lost one is added.
            assert len(log.read()) in (3, 4) or damage.startswith("truncated"), damage
        except UserError as error:
            remedy = f"mv {log.path} {log.path}.old"
            assert f"{log.path} is damaged" in str(error) and remedy in str(error), damage
        faults()
    log.path.unlink()
    submit(log, RUN, "aab", "quick")
    assert log.path.exists() and log.read().drop(columns="when").equals(expected)


def test_damaged_metadata_is_rejected(tmp_path, faults):
    log = SubmissionLog(tmp_path / "submissions")
    path = submit(log, RUN, "aab", "quick").folder / "metadata.json"
    for damage in damages(path, flips=40):
        try:
            json.dumps(log.get_or_create_entry(RUN).as_row())
        except UserError as error:
            assert f"{path} is damaged" in str(error) and f"rm {path}" in str(error), damage
        faults()
