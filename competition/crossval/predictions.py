"""Predictions, the product of cross-validation, and their files, which can be read without data or models.

    folds/<competition>/<split>/<member>/fold-0.npz      predictions; equal runs write equal bytes
                                         fold-0.json     seconds and learning curve
                                         fold-0.keras    the model (.skops for scikit-learn)

Each file of predictions has a checksum and its provenance.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from competition.errors import UserError
from competition.files import write_atomically

Provenance = dict[str, str]  # everything that determines predictions: data, split, recipe, source and versions


@dataclass(frozen=True)
class CurvePoint:
    """State of a training run after an epoch."""

    epoch: int
    epochs: int
    loss: float  # that was minimized: on augmented images, with smoothed labels
    images_per_second: float
    memory: int  # resident bytes of the process
    train_accuracy: float | None  # None for numbers
    train_log_loss: float  # root mean squared error of numbers
    held_out_accuracy: float | None
    held_out_log_loss: float | None  # None if no rows are held out


@dataclass(frozen=True)
class FoldPredictions:
    """The predictions of one fold's model."""

    held_out: np.ndarray  # (rows of the fold, outputs)
    test: np.ndarray  # (test rows, outputs)
    provenance: Provenance


@dataclass(frozen=True, eq=False)
class Predictions:
    """A member's predictions, rows in Dataset order."""

    member: str
    oof: np.ndarray  # (train rows, outputs); NaN where a fold is unfinished
    test: np.ndarray  # (folds, test rows, outputs)
    seconds: float  # of training and prediction, summed over folds
    fingerprint: str
    curves: Sequence[Sequence[CurvePoint]] = ()  # learning curve of each fold; empty for models without epochs

    @property
    def complete(self) -> bool:
        """Whether all folds are finished."""
        return bool(np.isfinite(self.oof).all() and np.isfinite(self.test).all())


def load_predictions(folder: Path) -> Predictions:
    """Load the predictions of a completely trained member, whatever the current code and data are."""
    held_out = pd.read_csv(folder.parent / "split.csv", skiprows=1)["fold"].to_numpy()
    paths = {fold: fold_path(folder, fold) for fold in range(held_out.max() + 1)}
    folds = {fold: read_fold(path) for fold, path in paths.items()}
    shapes = (len(held_out), folds[0].held_out.shape[1]), folds[0].test.shape
    metadata = [read_metadata(path) for path in paths.values()]
    return Predictions(
        folder.name,
        *combine_folds(folds, held_out, len(paths), *shapes),
        sum(seconds for seconds, _ in metadata),
        fingerprint(folds[0].provenance),
        [curve for _, curve in metadata],
    )


def combine_folds(
    folds: Mapping[int, FoldPredictions],
    held_out: np.ndarray,
    count: int,
    oof_shape: tuple[int, int],
    test_shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Combine finished folds to (out-of-fold, test) predictions; NaN stands for the others."""
    oof = np.full(oof_shape, np.nan, dtype=np.float32)
    test = np.full((count, *test_shape), np.nan, dtype=np.float32)
    for fold, predictions in folds.items():
        oof[held_out == fold], test[fold] = predictions.held_out, predictions.test
    return oof, test


def fingerprint(provenance: Provenance) -> str:
    """A digest of the provenance."""
    return hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()


def fold_path(folder: Path, fold: int) -> Path:
    """The file of a fold's predictions in a member's folder."""
    return folder / f"fold-{fold}.npz"


def write_fold(path: Path, predictions: FoldPredictions) -> None:
    """Write a file of predictions atomically."""
    arrays = {"held_out": predictions.held_out.astype(np.float32), "test": predictions.test.astype(np.float32)}
    provenance = json.dumps(predictions.provenance, sort_keys=True)
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays, made_of=provenance, checksum=_checksum(arrays, provenance))
    write_atomically(path, buffer.getvalue())


def read_fold(path: Path) -> FoldPredictions:
    """Read a file of predictions; raise ValueError if it is damaged."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("held_out", "test")}
            provenance, checksum = str(file["made_of"]), str(file["checksum"])
    except Exception as error:  # a damaged zip file can raise almost anything
        raise ValueError(f"not readable: {error}") from error
    if checksum != _checksum(arrays, provenance):
        raise ValueError("wrong checksum")
    return FoldPredictions(arrays["held_out"], arrays["test"], json.loads(provenance))


def write_metadata(path: Path, seconds: float, remark: str, curve: Sequence[CurvePoint]) -> None:
    """Write the JSON file alongside a file of predictions."""
    metadata = {"seconds": round(seconds, 2), "remark": remark, "curve": [asdict(point) for point in curve]}
    write_atomically(path.with_suffix(".json"), json.dumps(metadata).encode())


def read_metadata(path: Path) -> tuple[float, list[CurvePoint]]:
    """Read seconds and learning curve from the JSON file alongside a file of predictions."""
    path = path.with_suffix(".json")
    if not path.exists():
        return 0.0, []
    try:
        metadata = json.loads(path.read_text())
        seconds, curve = float(metadata["seconds"]), [CurvePoint(**point) for point in metadata.get("curve", [])]
        values = [value for point in curve for value in asdict(point).values() if value is not None]
        if not np.isfinite(np.array([seconds, *values])).all():
            raise ValueError("it holds a value that is not finite")
        return seconds, curve
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        remedy = f"it holds only timing and the learning curve; delete it: {shlex.join(['rm', str(path)])}"
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None


def _checksum(arrays: Mapping[str, np.ndarray], provenance: str) -> str:
    digest = hashlib.sha256(provenance.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
