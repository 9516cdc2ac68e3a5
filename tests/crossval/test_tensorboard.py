import json
from dataclasses import asdict

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from competition.crossval.curves import Point
from competition.crossval.folds import split
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.crossval.tensorboard import CHARTS, folder_of, logged, write_kept
from competition.models.member import Member

CURVE = [Point(epoch, 3, 0.5 / epoch, 100.0, 2**30, 0.9, 0.3, 0.8, 0.4) for epoch in (1, 2, 3)]
TASK = Task(Member.named("mlp"), 1)


@pytest.fixture
def store(dataset, tmp_path):
    return Store(tmp_path, dataset, split(dataset, 3, 0))


def read(folder):
    """Steps and values of the training loss, as TensorBoard itself reads them, and the names of all charts."""
    log = EventAccumulator(str(folder))
    log.Reload()
    return [(one.step, one.value) for one in log.Scalars("loss/training")], set(log.Tags()["scalars"])


def test_what_is_heard_while_training_is_logged_and_passed_on(tmp_path):
    heard = []
    with logged(tmp_path, lambda *said: heard.append(said[1])) as hear:
        hear(TASK, "started")
        for point in CURVE[:2]:
            hear(TASK, "epoch", point)
    assert heard == ["started", "epoch", "epoch"]
    assert read(tmp_path / "mlp" / "fold-1") == ([(1, 0.5), (2, 0.25)], set(CHARTS))


def test_a_fold_that_is_trained_again_has_one_log(tmp_path):
    with logged(tmp_path, lambda *said: None) as hear:
        for points in (CURVE[:2], CURVE):
            hear(TASK, "started")
            for point in points:
                hear(TASK, "epoch", point)
            hear(TASK, "finished", None)
    assert [step for step, _ in read(tmp_path / "mlp" / "fold-1")[0]] == [1, 2, 3]


def test_folds_that_were_kept_without_a_log_get_one(store):
    for fold in range(2):
        path = store.folder / store.folds.name / "mlp" / f"fold-{fold}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert write_kept(store) == 0
    path.with_suffix(".json").write_text(json.dumps({"seconds": 1.0, "curve": [asdict(point) for point in CURVE]}))
    assert write_kept(store) == write_kept(store) == 1
    assert [step for step, _ in read(folder_of(store) / "mlp" / "fold-1")[0]] == [1, 2, 3]
