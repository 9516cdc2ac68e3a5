"""Saved predictions, one file for each (member, fold), in the split's folder.

    folds/<competition>/<split>/<member>/fold-0.npz      predictions; equal runs write equal bytes
                                         fold-0.json     seconds and training curve
                                         fold-0.keras    the model (.skops for scikit-learn)

Each file of predictions has a checksum and the ingredients it was made from. Files that are damaged or made from other
ingredients are never used.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from competition.crossval.curves import CurvePoint
from competition.crossval.folds import Folds
from competition.crossval.predictions import Predictions
from competition.crossval.provenance import Ingredients, fingerprint, ingredients
from competition.crossval.task import FoldResult
from competition.data.dataset import Dataset
from competition.errors import UserError
from competition.files import write_atomically
from competition.models.interface import Predictor
from competition.models.member import Member


@dataclass(frozen=True)
class Store:
    """The saved predictions of one split of one competition."""

    folder: Path
    dataset: Dataset
    folds: Folds

    def reason_to_train(self, member: Member, fold: int) -> str | None:
        """Describe why the fold has to be trained, or return None if it is finished."""
        predictions = self._load(member, fold)
        return predictions if isinstance(predictions, str) else None

    def mismatch(self, member: Member, actual: Ingredients) -> str | None:
        """Name the ingredients that differ from the current code and data, or return None."""
        expected = ingredients(member, self.dataset, self.folds)
        differing = [name for name in expected if actual.get(name) != expected[name]]
        return f"made with another {', '.join(differing)}" if differing else None

    def save(self, member: Member, fold: int, result: FoldResult, curve: Sequence[CurvePoint] = ()) -> None:
        """Save a finished fold; the predictions are written last, since their file marks the fold as finished."""
        metadata = {
            "seconds": round(result.seconds, 2),
            "remark": result.remark,
            "curve": [asdict(point) for point in curve],
        }
        path = self._path(member, fold)
        write_atomically(path.with_suffix(result.suffix), result.model)
        write_atomically(path.with_suffix(".json"), json.dumps(metadata).encode())
        self._write(path, result.held_out, result.test, result.ingredients)

    def import_predictions(self, member: Member, by_fold: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Save imported (held-out, test) predictions; older ones are deleted first so that they cannot be mixed."""
        for fold in range(len(by_fold)):
            self._path(member, fold).unlink(missing_ok=True)
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for both in by_fold for part in both))
        made_of = ingredients(member, self.dataset, self.folds) | {"imported": digest.hexdigest()}
        for fold, (held_out, test) in enumerate(by_fold):
            self._write(self._path(member, fold), held_out, test, made_of)

    def predictions(self, member: Member) -> Predictions:
        """Combine the member's finished folds."""
        dataset, count = self.dataset, self.folds.count
        oof = np.full((len(dataset.labels), len(dataset.classes)), np.nan, dtype=np.float32)
        test = np.full((count, len(dataset.test_ids), len(dataset.classes)), np.nan, dtype=np.float32)
        seconds, curves = 0.0, []
        for fold in range(count):
            predictions = self._load(member, fold)
            if not isinstance(predictions, str):
                oof[self.folds.held_out == fold], test[fold] = predictions
                seconds += self.seconds(member, fold)
                curves.append(self.curve(member, fold))
        return Predictions(member.name, oof, test, seconds, self.fingerprint(member), curves)

    def load_model(self, member: Member, fold: int) -> Predictor:
        """Load the model of a finished fold, which was trained without that fold's rows."""
        path = self._path(member, fold)
        models = [file for file in path.parent.glob(f"{path.stem}.*") if file.suffix not in (".npz", ".json")]
        if self.reason_to_train(member, fold) or not models:
            raise UserError(f"{member.name} fold {fold} is not trained; run `make cv MODELS={member.name}`")
        try:
            return member.spec.load(models[0], len(self.dataset.classes))
        except Exception as error:  # each library has its own errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            remedy = f"rm {path} && make cv MODELS={member.name}"
            raise UserError(f"cannot load {models[0]} ({reason}); if it is damaged: {remedy}") from error

    def fingerprint(self, member: Member) -> str:
        """Return the fingerprint of the current code and data or, for an imported member, of what was imported."""
        if member.is_imported and not self.reason_to_train(member, 0):
            return fingerprint(self._read(self._path(member, 0))[0])
        return fingerprint(ingredients(member, self.dataset, self.folds))

    def seconds(self, member: Member, fold: int) -> float:
        """Return how long the finished fold took."""
        return _read_metadata(self._path(member, fold))[0]

    def curve(self, member: Member, fold: int) -> list[CurvePoint]:
        """Return the training curve of the finished fold; empty if it had no epochs."""
        return _read_metadata(self._path(member, fold))[1]

    def curves(self) -> Iterator[tuple[str, int, list[CurvePoint]]]:
        """Yield (member, fold, curve) of every saved fold, whatever it was made from."""
        for path in sorted((self.folder / self.folds.name).glob("*/fold-*.npz")):
            yield path.parent.name, int(path.stem.removeprefix("fold-")), _read_metadata(path)[1]

    def _load(self, member: Member, fold: int) -> tuple[np.ndarray, np.ndarray] | str:
        """Return the finished fold's (held-out, test) predictions, or describe why there are none."""
        path = self._path(member, fold)
        if not path.exists():
            return "not trained yet"
        try:
            made_of, held_out, test = self._read(path)
        except (OSError, ValueError, KeyError) as error:
            return f"{path} is damaged ({error})"
        return self.mismatch(member, made_of) or (held_out, test)

    def _path(self, member: Member, fold: int) -> Path:
        return self.folder / self.folds.name / member.name / f"fold-{fold}.npz"

    @staticmethod
    def _write(path: Path, held_out: np.ndarray, test: np.ndarray, ingredients: Ingredients) -> None:
        """Write a file of predictions atomically."""
        arrays = {"held_out": held_out.astype(np.float32), "test": test.astype(np.float32)}
        made_of = json.dumps(ingredients, sort_keys=True)
        buffer = BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, made_of=made_of, checksum=_checksum(arrays, made_of))
        write_atomically(path, buffer.getvalue())

    @staticmethod
    def _read(path: Path) -> tuple[Ingredients, np.ndarray, np.ndarray]:
        """Read (ingredients, held-out, test); raise ValueError if the file is damaged."""
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("held_out", "test")}
                made_of, checksum = str(file["made_of"]), str(file["checksum"])
        except Exception as error:  # a damaged zip file can raise almost anything
            raise ValueError(f"not readable: {error}") from error
        if checksum != _checksum(arrays, made_of):
            raise ValueError("wrong checksum")
        return json.loads(made_of), arrays["held_out"], arrays["test"]


def _read_metadata(path: Path) -> tuple[float, list[CurvePoint]]:
    """Read seconds and training curve from the JSON file alongside a file of predictions."""
    path = path.with_suffix(".json")
    if not path.exists():
        return 0.0, []
    try:
        metadata = json.loads(path.read_text())
        return float(metadata["seconds"]), [CurvePoint(**point) for point in metadata.get("curve", [])]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); it has only seconds and training curve, so: rm {path}") from None


def _checksum(arrays: dict[str, np.ndarray], made_of: str) -> str:
    digest = hashlib.sha256(made_of.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
