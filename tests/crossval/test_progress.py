import numpy as np
import pytest

from competition.crossval.curves import Point
from competition.crossval.folds import split
from competition.crossval.progress import Progress, Running, clock
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.workers.base import Failure
from competition.workers.local import LocalWorkers

MEMBERS = [Member.named("knn"), Member.named("mlp")]


@pytest.fixture
def progress(dataset, tmp_path):
    return Progress(Store(tmp_path, dataset, split(dataset, 2, 0)), MEMBERS, LocalWorkers(2), ACCURACY)


def finished(progress, fold, seconds=10.0, right=True):
    labels = progress.store.dataset.labels[progress.store.folds.held_out == fold]
    return FoldResult(np.eye(10)[labels if right else (labels + 1) % 10], np.empty(0), seconds, b"", ".skops", {})


def test_a_log_line_tells_the_score_so_far_and_the_time_to_go(progress):
    task = Task(MEMBERS[0], 0)
    assert progress.hear(task, "started") is None
    assert progress.hear(task, "epoch", Point(1, 5, 0.3, 900.0, 2**30, 1.0, 0.1, 1.0, 0.1)) is None
    line = progress.hear(task, "finished", finished(progress, 0))
    assert line.startswith("knn fold 0 took 0:10; knn has 100.000 ± 0.333 % so far; to go ")


def test_the_time_to_go_follows_the_measured_speed(progress):
    progress.hear(Task(MEMBERS[1], 0), "finished", finished(progress, 0, seconds=60.0))
    slow = progress.left()
    progress.trained.clear()
    progress.seconds["mlp"][0] = 0.1
    progress.hear(Task(MEMBERS[1], 0), "finished", finished(progress, 0, seconds=0.1))
    assert slow > 100 * progress.left() > 0


def test_a_fold_is_one_workers_however_many_are_idle(dataset, tmp_path):
    store = Store(tmp_path, dataset, split(dataset, 5, 0))
    slow = Progress(store, MEMBERS[:1], LocalWorkers(), ACCURACY)
    slow.workers._jobs = 16
    slow.hear(Task(MEMBERS[0], 0), "finished", finished(slow, 0, seconds=600.0))
    assert slow.left() == 600 and not slow.fits(MEMBERS[0], 599)
    slow.workers._jobs = 3
    assert slow.left() == 1200


def test_where_there_are_gpus_a_network_waits_for_one(dataset, tmp_path):
    store, quick = Store(tmp_path, dataset, split(dataset, 4, 0)), Member.named("quick")
    progress = Progress(store, [quick], LocalWorkers(gpus=["0"]), ACCURACY)
    progress.hear(Task(quick, 0), "finished", finished(progress, 0, seconds=10.0))
    assert progress.left() == 30


def test_between_epochs_the_time_to_go_runs_down(monkeypatch):
    now = 100.0
    monkeypatch.setattr("competition.crossval.progress.time.monotonic", lambda: now)
    running = Running(since=now)
    now = 130.0
    running.hear(Point(1, 4, 0.3, 900.0, 2**30, 1.0, 0.1, 1.0, 0.1))
    left = [running.left(expected=0.0)]
    now = 150.0
    left.append(running.left(expected=0.0))
    assert left == [90, 70]


def test_nothing_is_left_when_all_is_done(progress):
    for member in MEMBERS:
        for fold in range(2):
            progress.hear(Task(member, fold), "finished", finished(progress, fold, right=fold == 0))
    assert progress.left() == 0
    assert progress.scores["knn"].value == pytest.approx(0.5, abs=0.02)


def test_a_failure_is_told_with_its_task(progress):
    line = progress.hear(Task(MEMBERS[0], 1), "failed", Failure("ValueError: why", "all of it"))
    assert line.startswith("knn fold 1 failed: ValueError: why") and "all of it" in line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_clocks(seconds, text):
    assert clock(seconds) == text
