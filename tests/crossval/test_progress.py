import numpy as np
import pytest

from competition.crossval.checkpoint import CheckpointFailed, Resumed
from competition.crossval.curves import EpochDone
from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint
from competition.crossval.progress import Progress, RunningTask, format_duration
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.workers.events import Failed, Failure, Finished, Skipped, Started
from competition.workers.local import LocalWorkers

MEMBERS = [Member.parse("knn"), Member.parse("mlp")]


class ManyWorkers(LocalWorkers):
    """More workers than this machine may have cores."""

    def __init__(self, jobs):
        super().__init__(gpus=[])
        self.many = jobs

    @property
    def jobs(self):
        return self.many

    def capacity(self, task):
        return self.many


@pytest.fixture
def progress(dataset, tmp_path):
    return Progress(Store(tmp_path, dataset, make_folds(dataset, 2, 0)), MEMBERS, LocalWorkers(2), ACCURACY)


def result_of(progress, fold, seconds=10.0, correct=True):
    labels = progress.store.dataset.labels[progress.store.folds.held_out == fold]
    return FoldResult(np.eye(10)[labels if correct else (labels + 1) % 10], np.empty(0), seconds, b"", ".skops", {})


def test_a_log_line_has_the_score_so_far_and_the_time_left(progress):
    task = Task(MEMBERS[0], 0)
    assert progress.update(Started(task)) is None
    assert progress.update(EpochDone(task, CurvePoint(1, 5, 0.3, 900.0, 2**30, 1.0, 0.1, 1.0, 0.1))) is None
    line = progress.update(Finished(task, result_of(progress, 0)))
    assert line.startswith("knn fold 0 took 0:10; knn scores 100.000 ± 0.333 % so far; time left ")


def test_the_time_left_follows_the_measured_speed(progress):
    progress.update(Finished(Task(MEMBERS[1], 0), result_of(progress, 0, seconds=60.0)))
    slow = progress.time_left()
    progress.measured[True].clear()
    progress.seconds["mlp"][0] = 0.1
    progress.update(Finished(Task(MEMBERS[1], 0), result_of(progress, 0, seconds=0.1)))
    assert slow > 100 * progress.time_left() > 0


def test_a_classical_model_that_these_images_slow_down_does_not_raise_the_estimate_for_networks(dataset, tmp_path):
    knn, svm, network = (Member.parse(name) for name in ("knn", "svm", "mlp"))
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    progress = Progress(store, [knn, svm, network], LocalWorkers(2), ACCURACY)
    for member, slowdown in ((knn, 2), (svm, 10)):
        seconds = slowdown * store.reference_seconds(member)
        progress.update(Finished(Task(member, 0), result_of(progress, 0, seconds=seconds)))
    assert progress.expected_seconds(network) == pytest.approx(2 * store.reference_seconds(network))


def test_the_machine_speed_is_not_measured_on_imported_members(dataset, tmp_path):
    store, theirs = Store(tmp_path, dataset, make_folds(dataset, 2, 0)), Member.parse("@theirs")
    progress = Progress(store, [MEMBERS[0], theirs], LocalWorkers(2), ACCURACY)
    progress.seconds[theirs.name] = {0: 0.0, 1: 0.0}
    assert progress.expected_seconds(MEMBERS[0]) == store.reference_seconds(MEMBERS[0])


def test_the_machine_speed_is_not_measured_on_columns(dataset, tmp_path):
    columns, images = Member.parse("logistic"), MEMBERS[0]
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    progress = Progress(store, [columns, images], LocalWorkers(2), ACCURACY)
    expected = progress.expected_seconds(images)
    progress.update(Finished(Task(columns, 0), result_of(progress, 0, seconds=500.0)))
    assert progress.expected_seconds(images) == expected and progress.expected_seconds(columns) == 500.0


def test_a_fold_runs_on_one_worker_however_many_are_idle(dataset, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 5, 0))
    for workers, seconds in ((16, 600), (3, 1200)):
        slow = Progress(store, MEMBERS[:1], ManyWorkers(workers), ACCURACY)
        slow.update(Finished(Task(MEMBERS[0], 0), result_of(slow, 0, seconds=600.0)))
        assert slow.time_left() == seconds and not slow.fits(MEMBERS[0], seconds - 1)


def test_networks_share_the_gpus_if_there_are_any(dataset, tmp_path):
    store, quick = Store(tmp_path, dataset, make_folds(dataset, 4, 0)), Member.parse("quick")
    progress = Progress(store, [quick], LocalWorkers(gpus=["0"]), ACCURACY)
    progress.update(Finished(Task(quick, 0), result_of(progress, 0, seconds=10.0)))
    assert progress.time_left() == 30


def test_between_epochs_the_time_left_decreases(monkeypatch):
    now = 100.0
    monkeypatch.setattr("competition.crossval.progress.time.monotonic", lambda: now)
    running = RunningTask(start=now)
    now = 130.0
    running.update(CurvePoint(1, 4, 0.3, 900.0, 2**30, 1.0, 0.1, 1.0, 0.1))
    left = [running.time_left(expected=0.0)]
    now = 150.0
    left.append(running.time_left(expected=0.0))
    assert left == [90, 70]


def test_the_running_fold_of_a_skipped_member_is_waited_for(progress, monkeypatch):
    monkeypatch.setattr("competition.crossval.progress.time.monotonic", lambda: 100.0)
    for fold in range(2):
        progress.update(Finished(Task(MEMBERS[0], fold), result_of(progress, fold)))
    progress.update(Started(Task(MEMBERS[1], 0)))
    progress.update(Skipped(Task(MEMBERS[1], 1)))
    running = progress.running[Task(MEMBERS[1], 0)]
    assert progress.time_left() == running.time_left(progress.expected_seconds(MEMBERS[1])) > 0


def test_no_time_is_left_when_all_folds_are_finished(progress):
    for member in MEMBERS:
        for fold in range(2):
            progress.update(Finished(Task(member, fold), result_of(progress, fold, correct=fold == 0)))
    assert progress.time_left() == 0
    assert progress.scores["knn"].value == pytest.approx(0.5, abs=0.02)


def test_a_failed_fold_is_not_waited_for(progress):
    for member in MEMBERS:
        progress.update(Finished(Task(member, 0), result_of(progress, 0)))
        progress.update(Started(Task(member, 1)))
        progress.update(Failed(Task(member, 1), Failure("no memory", "")))
    assert progress.time_left() == 0


def test_a_failure_is_reported_with_its_task(progress):
    line = progress.update(Failed(Task(MEMBERS[0], 1), Failure("ValueError: why", "all of it")))
    assert line.startswith("knn fold 1 failed: ValueError: why") and "all of it" in line


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_seconds_are_formatted_as_a_clock(seconds, text):
    assert format_duration(seconds) == text


def test_a_resumed_fold_is_extrapolated_from_the_epochs_of_this_run(progress):
    task, running = Task(MEMBERS[1], 0), RunningTask()
    points = [CurvePoint(epoch, 12, 0.3, 900.0, 2**30, 1.0, 0.1, 1.0, 0.1) for epoch in range(1, 12)]
    progress.running[task] = running
    assert progress.update(Resumed(task, tuple(points[:9]))) == "mlp fold 0 continues after epoch 9 of 12"
    assert running.time_left(expected=120.0) == pytest.approx(30.0, abs=1.0)
    running.start -= 20.0
    progress.update(EpochDone(task, points[10]))
    assert running.time_left(expected=1e6) == pytest.approx(10.0, abs=1.0)  # two epochs took 20 seconds


def test_a_task_without_checkpoint_is_reported(progress):
    assert progress.update(CheckpointFailed(Task(MEMBERS[1], 0), "it starts again")) == "mlp fold 0: it starts again"
