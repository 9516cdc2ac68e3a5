"""Training curves as TensorBoard logs, written during training or afterwards from saved curves."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from competition.crossval.checkpoint import CheckpointFailed, Resumed
from competition.crossval.curves import EpochDone
from competition.crossval.predictions import CurvePoint
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.workers.events import Event, OnEvent

FLUSH_SECONDS = 5  # between writes during training
CHARTS = {
    "loss/objective": "loss",
    "loss/train": "train_log_loss",
    "loss/held_out": "held_out_log_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/held_out": "held_out_accuracy",
    "machine/images_per_second": "images_per_second",
    "machine/memory": "memory",
}


def log_folder(store: Store) -> Path:
    """Return the folder of a split's logs."""
    return store.folder / "tensorboard" / store.folds.name


@contextmanager
def log_epochs(folder: Path, on_event: OnEvent) -> Iterator[OnEvent]:
    """Return a callback that forwards to `on_event` and, if tensorboardX is installed, logs each fold's epochs."""
    if not find_spec("tensorboardX"):
        yield on_event
        return
    writers: dict[Task, Any] = {}

    def log_and_forward(event: Event) -> None:
        match event:
            case EpochDone(task, point) if point.epoch == 1 or task in writers:
                if point.epoch == 1:
                    writers[task] = _open_writer(folder, task.member.name, task.fold)
                _write_point(writers[task], point)
            case Resumed(task, points):
                writers[task] = _open_writer(folder, task.member.name, task.fold)
                for point in points:
                    _write_point(writers[task], point)
            case CheckpointFailed() | EpochDone():  # the latter of a worker that was lost
                pass
            case Event(task) if task in writers:
                writers.pop(task).close()
        on_event(event)

    try:
        yield log_and_forward
    finally:
        for writer in writers.values():
            writer.close()


def log_saved_curves(store: Store) -> int:
    """Log the saved curves that have no log yet; return the number of folds with logs."""
    for name, fold, curve in store.curves():
        if curve and not (log_folder(store) / name / f"fold-{fold}").exists():
            writer = _open_writer(log_folder(store), name, fold)
            for point in curve:
                _write_point(writer, point)
            writer.close()
    return len(list(log_folder(store).glob("*/fold-*")))


def _open_writer(folder: Path, name: str, fold: int) -> Any:
    """Return a writer for a fold; the log of an earlier training run is deleted."""
    from tensorboardX import SummaryWriter

    path = folder / name / f"fold-{fold}"
    shutil.rmtree(path, ignore_errors=True)
    return SummaryWriter(str(path), flush_secs=FLUSH_SECONDS)


def _write_point(writer: Any, point: CurvePoint) -> None:
    values = asdict(point)
    for chart, name in CHARTS.items():
        if values[name] is not None:
            writer.add_scalar(chart, values[name], point.epoch)
