"""Curves of training as TensorBoard reads them: written while models train, and afterwards for what was kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from competition.crossval.curves import Point
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.workers.base import Say

SECONDS = 5  # between writes, while models train
CHARTS = {
    "loss/training": "loss",
    "loss/taught": "taught_log_loss",
    "loss/held_out": "held_out_log_loss",
    "accuracy/taught": "taught_accuracy",
    "accuracy/held_out": "held_out_accuracy",
    "machine/images_per_second": "images_per_second",
    "machine/memory": "memory",
}


def folder_of(store: Store) -> Path:
    """Where a split's logs lie."""
    return store.folder / "tensorboard" / store.folds.name


@contextmanager
def logged(folder: Path, hear: Say) -> Iterator[Say]:
    """Let `hear` hear, and log the epochs of each fold if TensorBoard's writer is installed."""
    if not find_spec("tensorboardX"):
        yield hear
        return
    writers: dict[Task, Any] = {}

    def hear_and_log(task: Task, what: str, detail: Any = None) -> None:
        if what == "epoch":
            if detail.epoch == 1:
                writers[task] = _writer(folder, task.member.name, task.fold)
            _write(writers[task], detail)
        elif task in writers:
            writers.pop(task).close()
        hear(task, what, detail)

    try:
        yield hear_and_log
    finally:
        for writer in writers.values():
            writer.close()


def write_kept(store: Store) -> int:
    """Log the kept folds that were trained without being logged; how many folds have logs then."""
    for name, fold, curve in store.curves():
        if curve and not (folder_of(store) / name / f"fold-{fold}").exists():
            writer = _writer(folder_of(store), name, fold)
            for point in curve:
                _write(writer, point)
            writer.close()
    return len(list(folder_of(store).glob("*/fold-*")))


def _writer(folder: Path, name: str, fold: int) -> Any:
    """A fold's writer; the log of an earlier training makes room."""
    from tensorboardX import SummaryWriter

    path = folder / name / f"fold-{fold}"
    shutil.rmtree(path, ignore_errors=True)
    return SummaryWriter(str(path), flush_secs=SECONDS)


def _write(writer: Any, point: Point) -> None:
    told = asdict(point)
    for chart, name in CHARTS.items():
        writer.add_scalar(chart, told[name], point.epoch)
