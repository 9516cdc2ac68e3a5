"""Checkpoints of folds in training, so that training that was killed continues after its last saved epoch.

A checkpoint is written by the worker, on its machine: through a cluster's scheduler it would be too large. It holds the
SHA-256 of its content, and the fold's provenance, so that neither a damaged nor an outdated one is used.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from competition.crossval.predictions import CurvePoint, Provenance, fold_path
from competition.errors import UserError
from competition.files import write_atomically
from competition.models.interface import Epoch, TrainingState
from competition.workers.base import Emit
from competition.workers.events import Event

CHECKPOINT_SECONDS = 60.0  # between checkpoints, so that short training runs have none
MAX_SHARE = 0.01  # of the training time that may be spent on checkpoints
MAX_AGE = 14 * 86_400.0  # seconds after which the checkpoint of an abandoned training run is deleted
SUFFIX = ".checkpoint"


@dataclass(frozen=True)
class EarlierEpochs:
    """What a worker emits when it continues from a checkpoint: the epochs before."""

    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class CheckpointProblem:
    """What a worker emits when a checkpoint cannot be used or written."""

    reason: str


@dataclass(frozen=True)
class Resumed(Event):
    """The training continues after these epochs."""

    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class CheckpointFailed(Event):
    """The checkpoint cannot be read or written; the training goes on without it."""

    reason: str


@dataclass(frozen=True)
class StoredTraining:
    """The content of a checkpoint."""

    state: TrainingState
    points: list[CurvePoint]
    seconds: float  # of training up to now
    provenance: Provenance


def checkpoint_path(folder: Path, member: str, fold: int) -> Path:
    """The checkpoint of a member's fold, in the folder of its split."""
    return fold_path(folder / member, fold).with_suffix(SUFFIX)


def describe_checkpoint(path: Path) -> str | None:
    """Describe after which epoch the training continues, e.g. `epoch 9 of 12`; None without a usable checkpoint."""
    with suppress(OSError, ValueError):
        if points := read_checkpoint(path).points:
            return describe_epoch(points[-1])
    return None


def describe_epoch(point: CurvePoint) -> str:
    """The epoch of a point on a curve."""
    return f"epoch {point.epoch} of {point.epochs}"


def remove_abandoned(folder: Path) -> None:
    """Delete a split's checkpoints that are older than MAX_AGE."""
    for path in folder.glob(f"*/fold-*{SUFFIX}"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > MAX_AGE:
                path.unlink()


def write_checkpoint(path: Path, stored: StoredTraining) -> None:
    """Write a checkpoint atomically."""
    details = {
        "epoch": stored.state.epoch,
        "row_order": stored.state.row_order,
        "augmentation": stored.state.augmentation,
        "points": [asdict(point) for point in stored.points],
        "seconds": stored.seconds,
        "made_of": stored.provenance,
    }
    buffer = BytesIO()
    np.savez(buffer, *stored.state.variables, details=json.dumps(details))
    content = buffer.getvalue()
    write_atomically(path, hashlib.sha256(content).digest() + content)


def read_checkpoint(path: Path) -> StoredTraining:
    """Read a checkpoint; raise ValueError if it is damaged or of another version of this package."""
    data = path.read_bytes()
    length = hashlib.sha256().digest_size
    if hashlib.sha256(data[length:]).digest() != data[:length]:
        raise ValueError("wrong checksum")
    with np.load(BytesIO(data[length:]), allow_pickle=False) as file:
        details = json.loads(str(file["details"]))
        names = [name for name in file.files if name.startswith("arr_")]
        variables = [file[f"arr_{number}"] for number in range(len(names))]
    try:
        state = TrainingState(details["epoch"], variables, details["row_order"], details["augmentation"])
        points = [CurvePoint(**point) for point in details["points"]]
        return StoredTraining(state, points, details["seconds"], details["made_of"])
    except (KeyError, TypeError):
        raise ValueError("written by another version") from None


class FoldCheckpoint:
    """The checkpoint of one fold; `points` is its curve, to which the epochs of an earlier run are added.

    An `interval` of 0 seconds saves every epoch.
    """

    def __init__(
        self, path: Path, provenance: Provenance, points: list[CurvePoint], emit: Emit, interval: float
    ) -> None:
        self.path = path
        self.provenance = provenance
        self.points = points
        self.emit = emit
        self.interval = self._pause = interval
        self.earlier_seconds = 0.0
        self._start = self._last = time.perf_counter()
        self._is_writable = True

    def load(self) -> TrainingState | None:
        """Return the saved state; a checkpoint that is damaged or made of something else is deleted."""
        try:
            stored = read_checkpoint(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.emit(CheckpointProblem(f"its checkpoint is damaged ({error}), so it starts from the beginning"))
            self.remove()
            return None
        if stored.provenance != self.provenance:
            self.remove()
            return None
        self.earlier_seconds, self._start = stored.seconds, time.perf_counter()
        self.points[:] = stored.points
        self.emit(EarlierEpochs(tuple(stored.points)))
        return stored.state

    def save(self, epoch: Epoch, read_state: Callable[[], TrainingState]) -> None:
        """Write the state if enough time has passed; training continues without if that fails."""
        start = time.perf_counter()
        if start - self._last < self._pause or not self._is_writable:
            return
        seconds = self.earlier_seconds + start - self._start
        try:
            write_checkpoint(self.path, StoredTraining(read_state(), self.points, seconds, self.provenance))
        except (OSError, UserError) as error:
            self._is_writable = False
            self.emit(CheckpointProblem(f"training continues without checkpoints: {error}"))
        self._last = time.perf_counter()
        if self.interval:
            self._pause = max(self.interval, (self._last - start) / MAX_SHARE)

    def remove(self) -> None:
        """Delete the checkpoint."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
