import json
from dataclasses import asdict

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from competition.crossval.checkpoint import CheckpointFailed, Resumed
from competition.crossval.curves import EpochDone
from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.crossval.tensorboard import CHARTS, log_epochs, log_folder, log_saved_curves
from competition.models.member import Member
from competition.workers.events import Failure, Finished, Retried, Started, ignore_event

CURVE = [CurvePoint(epoch, 3, 0.5 / epoch, 100.0, 2**30, 0.9, 0.3, 0.8, 0.4) for epoch in (1, 2, 3)]
TASK = Task(Member.parse("mlp"), 1)


@pytest.fixture
def store(dataset, tmp_path):
    return Store(tmp_path, dataset, make_folds(dataset, 3, 0))


def read_log(folder):
    """Return (step, value) of the loss, as read by TensorBoard, and the names of all charts."""
    log = EventAccumulator(str(folder))
    log.Reload()
    return [(scalar.step, scalar.value) for scalar in log.Scalars("loss/objective")], set(log.Tags()["scalars"])


def test_epochs_are_logged_and_events_are_forwarded(tmp_path):
    events = []
    with log_epochs(tmp_path, events.append) as on_event:
        on_event(Started(TASK))
        for point in CURVE[:2]:
            on_event(EpochDone(TASK, point))
    assert events == [Started(TASK), *(EpochDone(TASK, point) for point in CURVE[:2])]
    assert read_log(tmp_path / "mlp" / "fold-1") == ([(1, 0.5), (2, 0.25)], set(CHARTS))


def test_a_retrained_fold_has_one_log(tmp_path):
    with log_epochs(tmp_path, ignore_event) as on_event:
        for points in (CURVE[:2], CURVE):
            on_event(Started(TASK))
            for point in points:
                on_event(EpochDone(TASK, point))
            on_event(Finished(TASK, None))
    assert [step for step, _ in read_log(tmp_path / "mlp" / "fold-1")[0]] == [1, 2, 3]


def test_a_resumed_fold_is_logged_from_its_first_epoch(tmp_path):
    with log_epochs(tmp_path, ignore_event) as on_event:
        on_event(Started(TASK))
        on_event(Resumed(TASK, tuple(CURVE[:2])))
        on_event(CheckpointFailed(TASK, "the disk is full"))
        on_event(EpochDone(TASK, CURVE[2]))
    assert [step for step, _ in read_log(tmp_path / "mlp" / "fold-1")[0]] == [1, 2, 3]


def test_a_late_epoch_of_a_worker_that_was_lost_is_forwarded_only(tmp_path):
    events = []
    with log_epochs(tmp_path, events.append) as on_event:
        on_event(EpochDone(TASK, CURVE[0]))
        on_event(Retried(TASK, Failure("lost the worker", "")))
        on_event(EpochDone(TASK, CURVE[1]))
    assert len(events) == 3 and read_log(tmp_path / "mlp" / "fold-1")[0] == [(1, 0.5)]


def test_saved_folds_without_a_log_get_one(store):
    for fold in range(2):
        path = store.folder / store.folds.name / "mlp" / f"fold-{fold}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert log_saved_curves(store) == 0
    path.with_suffix(".json").write_text(json.dumps({"seconds": 1.0, "curve": [asdict(point) for point in CURVE]}))
    assert log_saved_curves(store) == log_saved_curves(store) == 1
    assert [step for step, _ in read_log(log_folder(store) / "mlp" / "fold-1")[0]] == [1, 2, 3]
