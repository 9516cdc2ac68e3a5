"""A training that was killed continues from its checkpoint, with the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from competition.crossval.checkpoint import (
    MAX_AGE,
    CheckpointFailed,
    CheckpointProblem,
    EarlierEpochs,
    FoldCheckpoint,
    Resumed,
    checkpoint_path,
    describe_checkpoint,
    read_checkpoint,
    remove_abandoned,
)
from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint
from competition.crossval.run import cross_validate
from competition.crossval.store import Store
from competition.data.dataset import load_dataset
from competition.models.interface import Epoch, TrainingState
from competition.models.member import Member
from competition.workers.events import Finished, Retried
from competition.workers.local import LocalWorkers
from competition.workers.machine import SINGLE_THREAD

EPOCHS = 4
STATE = TrainingState(
    2, [np.arange(6.0), np.ones((2, 3), np.float32)], np.random.default_rng(0).bit_generator.state, None
)
POINTS = [CurvePoint(number, EPOCHS, 0.5, 900.0, 2**20, 1.0, 0.1, 1.0, 0.1) for number in (1, 2)]
EPOCH = Epoch(2, EPOCHS, 0.5, 900.0, lambda images: np.zeros((len(images), 10)))


def short_member(epochs=EPOCHS):
    """A network with dropout, of few epochs, with augmentation."""
    member = Member.parse("lenet")
    return replace(member, recipe=replace(member.recipe, epochs=epochs, min_steps=0))


def make_checkpoint(path, points=(), interval=0.0, **provenance):
    messages = []
    return FoldCheckpoint(path, {"seed": "0"} | provenance, list(points), messages.append, interval), messages


def test_a_checkpoint_returns_what_was_saved(tmp_path):
    path = checkpoint_path(tmp_path, "lenet", 3)
    make_checkpoint(path, POINTS)[0].save(EPOCH, lambda: STATE)
    checkpoint, messages = make_checkpoint(path)
    loaded = checkpoint.load()
    assert loaded.epoch == 2 and loaded.row_order == STATE.row_order and checkpoint.points == POINTS
    for expected, actual in zip(STATE.variables, loaded.variables, strict=True):
        assert actual.dtype == expected.dtype and (actual == expected).all()
    assert messages == [EarlierEpochs(tuple(POINTS))] and checkpoint.earlier_seconds > 0
    assert describe_checkpoint(path) == "epoch 2 of 4"


def test_the_seconds_of_all_runs_are_added(tmp_path):
    path = tmp_path / "fold-0.checkpoint"
    seconds = []
    for _ in range(3):
        checkpoint, _ = make_checkpoint(path, POINTS)
        checkpoint.load()
        checkpoint.save(EPOCH, lambda: STATE)
        seconds.append(read_checkpoint(path).seconds)
        assert seconds[-1] > checkpoint.earlier_seconds
    assert sorted(seconds) == seconds and checkpoint.earlier_seconds == seconds[1]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-9] + b"?" + data[-8:]]
)
def test_a_damaged_checkpoint_is_reported_and_not_used(damage, tmp_path):
    path = tmp_path / "fold-0.checkpoint"
    make_checkpoint(path)[0].save(EPOCH, lambda: STATE)
    path.write_bytes(damage(path.read_bytes()))
    checkpoint, messages = make_checkpoint(path)
    assert checkpoint.load() is None and not path.exists() and describe_checkpoint(path) is None
    (problem,) = messages
    assert problem.reason == "its checkpoint is damaged (wrong checksum), so it starts from the beginning"


def test_a_checkpoint_made_of_something_else_is_deleted(tmp_path):
    path = tmp_path / "fold-0.checkpoint"
    make_checkpoint(path)[0].save(EPOCH, lambda: STATE)
    checkpoint, messages = make_checkpoint(path, seed="1")
    assert checkpoint.load() is None and not path.exists() and messages == []


def test_short_trainings_have_no_checkpoint(tmp_path):
    path = tmp_path / "fold-0.checkpoint"
    make_checkpoint(path, interval=3600.0)[0].save(EPOCH, lambda: STATE)
    assert not path.exists()


def test_a_slow_disk_gets_fewer_checkpoints(tmp_path):
    path = tmp_path / "fold-0.checkpoint"
    checkpoint, _ = make_checkpoint(path, interval=1e-9)  # always over, but for the limit of the share of time
    checkpoint.save(EPOCH, lambda: STATE)
    path.unlink()
    checkpoint.save(EPOCH, lambda: STATE)
    assert not path.exists()


def test_training_goes_on_if_no_checkpoint_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in place of the folder")
    checkpoint, messages = make_checkpoint(tmp_path / "file" / "fold-0.checkpoint")
    for _ in range(2):
        checkpoint.save(EPOCH, lambda: STATE)
    (problem,) = messages
    assert isinstance(problem, CheckpointProblem)
    assert problem.reason.startswith("training continues without checkpoints: ")


def test_old_checkpoints_are_deleted(tmp_path):
    paths = [checkpoint_path(tmp_path, "lenet", fold) for fold in (0, 1)]
    for path in paths:
        make_checkpoint(path)[0].save(EPOCH, lambda: STATE)
    modified = paths[1].stat().st_mtime - MAX_AGE - 60
    os.utime(paths[1], (modified, modified))
    remove_abandoned(tmp_path)
    assert [path.exists() for path in paths] == [True, False]


def kill_after_epoch(folder: Path, data: Path, epoch: int) -> None:
    """Train fold 0 in this process, which is killed with SIGKILL at the end of this epoch."""
    from competition.crossval import run

    dataset = load_dataset(data)
    store = Store(folder, dataset, make_folds(dataset, 2, 0))

    class Killing(FoldCheckpoint):
        def save(self, finished, read_state):
            super().save(finished, read_state)
            if finished.number == epoch:
                os.kill(os.getpid(), signal.SIGKILL)

    run.FoldCheckpoint = Killing
    checkpoints = run.LocalFolder((folder / store.folds.name).absolute(), "")
    task = run.Task(short_member(), 0)
    run._train_and_record(task, lambda payload: None, dataset, store.folds, checkpoints, 0.0)


def kill_training(folder: Path, data: Path, epoch: int, backend="tensorflow") -> None:
    """Run `kill_after_epoch` in a process of its own, with one thread, like a worker."""
    program = "import sys; from pathlib import Path; from test_checkpoint import kill_after_epoch as kill\n"
    program += "kill(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(data), str(epoch)],
        env=os.environ | SINGLE_THREAD | {"KERAS_BACKEND": backend, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def search_path() -> str:
    return os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "crossval")))


def train(store, on_event=lambda event: None, member=None):
    """Train both folds with a checkpoint after each epoch; return the contents of the prediction files."""
    run = cross_validate(store, [member or short_member()], LocalWorkers(1), on_event, checkpoint_seconds=0.0)
    list(run)
    return {path.name: path.read_bytes() for path in store.folder.glob("*/lenet/*.npz")}


def weights(store, member, fold):
    import keras

    model = keras.saving.load_model(store.model_path(member, fold), compile=False)
    return [weight.tobytes() for weight in model.get_weights()]


def measures(points):
    """The values of a curve that are the same in equal training runs."""
    return [replace(point, images_per_second=0.0, memory=0) for point in points]


@pytest.mark.integration
def test_a_killed_training_is_continued_with_the_same_bytes(dataset, competition_folder, tmp_path):
    stores = [Store(tmp_path / name, dataset, make_folds(dataset, 2, 0)) for name in ("undisturbed", "killed")]
    kill_training(stores[1].folder, competition_folder, 3)
    path = checkpoint_path(tmp_path / "killed" / stores[1].folds.name, "lenet", 0)
    assert describe_checkpoint(path) == "epoch 3 of 4"
    earlier_seconds = read_checkpoint(path).seconds
    events = []
    expected, actual = train(stores[0]), train(stores[1], events.append)
    assert expected.keys() == {"fold-0.npz", "fold-1.npz"} and actual == expected
    ((resumed_fold, epochs),) = [(event.task.fold, event.points) for event in events if isinstance(event, Resumed)]
    assert resumed_fold == 0 and [point.epoch for point in epochs] == [1, 2, 3]
    member = short_member()
    for fold in range(2):
        assert weights(stores[1], member, fold) == weights(stores[0], member, fold)
        curves = [store.curve(member, fold) for store in stores]
        assert len(curves[0]) == EPOCHS and measures(curves[0]) == measures(curves[1])
    (result,) = [event.result for event in events if isinstance(event, Finished) and event.task.fold == 0]
    assert result.seconds > earlier_seconds > 0
    assert list(tmp_path.rglob("*.checkpoint")) == []


JAX_SCRIPT = """
import sys
from pathlib import Path
from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.data.dataset import load_dataset
from test_checkpoint import train

dataset = load_dataset(Path(sys.argv[1]))
results = [train(Store(Path(folder), dataset, make_folds(dataset, 2, 0))) for folder in sys.argv[2:]]
assert len(results[0]) == 2 and results[0] == results[1]
"""


@pytest.mark.slow
def test_a_killed_training_is_continued_with_jax(competition_folder, tmp_path):
    kill_training(tmp_path / "killed", competition_folder, 2, "jax")
    assert len(list(tmp_path.rglob("*.checkpoint"))) == 1
    arguments = [sys.executable, "-c", JAX_SCRIPT, competition_folder, tmp_path / "undisturbed", tmp_path / "killed"]
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": search_path()}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
def test_damaged_and_outdated_checkpoints_are_not_continued(dataset, competition_folder, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    kill_training(tmp_path, competition_folder, 1)
    path = checkpoint_path(tmp_path / store.folds.name, "lenet", 0)
    outdated = path.read_bytes()
    path.write_bytes(outdated[:-1])
    events = []
    train(store, events.append)
    ((task, reason),) = [(event.task.name, event.reason) for event in events if isinstance(event, CheckpointFailed)]
    assert task == "lenet fold 0" and reason.startswith("its checkpoint is damaged") and not path.exists()
    path.write_bytes(outdated)
    train(store)  # nothing to train, but the fold is finished
    assert not path.exists()
    path.write_bytes(outdated)
    events.clear()
    train(store, events.append, short_member(epochs=2))
    assert not any(isinstance(event, Resumed | CheckpointFailed) for event in events) and not path.exists()


@pytest.mark.integration
def test_a_task_that_is_retried_continues(dataset, tmp_path):
    import psutil

    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    path = checkpoint_path(tmp_path / store.folds.name, "lenet", 0)
    events = []

    def kill_worker(event):
        events.append(event)
        if path.exists() and not any(isinstance(event, Retried | Finished) for event in events):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # it has ended in between
                    if any("popen_loky" in part for part in child.cmdline()):
                        child.kill()

    train(store, kill_worker, short_member(epochs=60))
    assert [event.task.fold for event in events if isinstance(event, Retried)] == [0]
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.task.fold == 0 and [point.epoch for point in store.curve(short_member(60), 0)] == [*range(1, 61)]
