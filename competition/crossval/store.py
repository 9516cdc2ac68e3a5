"""What cross-validation has predicted: one file for each (member, fold), under the split's folder.

    folds/<competition>/<split>/<member>/fold-0.npz      the predictions, nothing that differs between equal runs
                                         fold-0.json     how long it took, and how it went
                                         fold-0.keras    the model itself (.skops for scikit-learn)

Each file of predictions carries a checksum and the ingredients that made it. What other ingredients made, or a damaged
file, is never read as if it were the one wanted.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from competition.crossval.curves import Point
from competition.crossval.folds import Folds
from competition.crossval.predictions import Predictions
from competition.crossval.provenance import Ingredients, fingerprint, ingredients
from competition.crossval.task import FoldResult
from competition.data.dataset import Dataset
from competition.errors import Problem
from competition.files import write_whole
from competition.models.interface import Predictor
from competition.models.member import Member


@dataclass(frozen=True)
class Store:
    """The predictions of one split of one competition."""

    folder: Path
    dataset: Dataset
    folds: Folds

    def changed(self, member: Member, fold: int) -> str | None:
        """Why the fold has to be trained: a reason in words, or None where it is finished."""
        found = self._find(member, fold)
        return found if isinstance(found, str) else None

    def foreign(self, member: Member, made_of: Ingredients) -> str | None:
        """Which ingredients are not those of the code and data at hand, in words, or None."""
        wanted = ingredients(member, self.dataset, self.folds)
        differences = [name for name in wanted if made_of.get(name) != wanted[name]]
        return f"made with another {', '.join(differences)}" if differences else None

    def save(self, member: Member, fold: int, result: FoldResult, curve: Sequence[Point] = ()) -> None:
        """Keep a finished fold; the predictions come last, since with them it counts as finished."""
        went = {
            "seconds": round(result.seconds, 2),
            "remark": result.remark,
            "curve": [asdict(point) for point in curve],
        }
        path = self._path(member, fold)
        write_whole(path.with_suffix(result.suffix), result.model)
        write_whole(path.with_suffix(".json"), json.dumps(went).encode())
        self._write(path, result.held_out, result.test, result.made_of)

    def take_in(self, member: Member, by_fold: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Keep imported predictions as if they had been made here; those of before go first, lest both be mixed."""
        for fold in range(len(by_fold)):
            self._path(member, fold).unlink(missing_ok=True)
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for both in by_fold for part in both))
        made_of = ingredients(member, self.dataset, self.folds) | {"imported": digest.hexdigest()}
        for fold, (held_out, test) in enumerate(by_fold):
            self._write(self._path(member, fold), held_out, test, made_of)

    def predictions(self, member: Member) -> Predictions:
        """The member's finished folds, put together."""
        dataset, count = self.dataset, self.folds.count
        oof = np.full((len(dataset.labels), len(dataset.classes)), np.nan, dtype=np.float32)
        test = np.full((count, len(dataset.test_ids), len(dataset.classes)), np.nan, dtype=np.float32)
        seconds, curves = 0.0, []
        for fold in range(count):
            found = self._find(member, fold)
            if not isinstance(found, str):
                oof[self.folds.held_out == fold], test[fold] = found
                seconds += self.seconds(member, fold)
                curves.append(self.curve(member, fold))
        return Predictions(member.name, oof, test, seconds, self.fingerprint(member), curves)

    def kept(self, member: Member, fold: int) -> Predictor:
        """The finished fold's model, trained without that fold's rows."""
        path = self._path(member, fold)
        models = [found for found in path.parent.glob(f"{path.stem}.*") if found.suffix not in (".npz", ".json")]
        if self.changed(member, fold) or not models:
            raise Problem(f"{member.name} fold {fold} is not trained; run `make cv MODELS={member.name}`")
        try:
            return member.spec.load(models[0], len(self.dataset.classes))
        except Exception as error:  # each library has errors of its own
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            mend = f"rm {path} && make cv MODELS={member.name}"
            raise Problem(f"{models[0]} cannot be loaded ({reason}); if it is damaged: {mend}") from error

    def fingerprint(self, member: Member) -> str:
        """Of what the present code and data would make, or of what was imported."""
        if member.imported and not self.changed(member, 0):
            return fingerprint(self._read(self._path(member, 0))[0])
        return fingerprint(ingredients(member, self.dataset, self.folds))

    def seconds(self, member: Member, fold: int) -> float:
        """How long the finished fold took."""
        return _went(self._path(member, fold))[0]

    def curve(self, member: Member, fold: int) -> list[Point]:
        """How the finished fold's training went; empty where it had no epochs."""
        return _went(self._path(member, fold))[1]

    def curves(self) -> Iterator[tuple[str, int, list[Point]]]:
        """(member, fold, curve) of every fold that lies here, whatever made it."""
        for path in sorted((self.folder / self.folds.name).glob("*/fold-*.npz")):
            yield path.parent.name, int(path.stem.removeprefix("fold-")), _went(path)[1]

    def _find(self, member: Member, fold: int) -> tuple[np.ndarray, np.ndarray] | str:
        """The finished fold's predictions of held-out and test rows, or in words why there are none."""
        path = self._path(member, fold)
        if not path.exists():
            return "not trained yet"
        try:
            made_of, held_out, test = self._read(path)
        except (OSError, ValueError, KeyError) as error:
            return f"{path} is damaged ({error})"
        return self.foreign(member, made_of) or (held_out, test)

    def _path(self, member: Member, fold: int) -> Path:
        return self.folder / self.folds.name / member.name / f"fold-{fold}.npz"

    @staticmethod
    def _write(path: Path, held_out: np.ndarray, test: np.ndarray, ingredients: Ingredients) -> None:
        """A file of predictions, whole or not at all."""
        arrays = {"held_out": held_out.astype(np.float32), "test": test.astype(np.float32)}
        made_of = json.dumps(ingredients, sort_keys=True)
        buffer = BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, made_of=made_of, checksum=_checksum(arrays, made_of))
        write_whole(path, buffer.getvalue())

    @staticmethod
    def _read(path: Path) -> tuple[Ingredients, np.ndarray, np.ndarray]:
        """What made the file, and its predictions, if it is whole."""
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("held_out", "test")}
                made_of, checksum = str(file["made_of"]), str(file["checksum"])
        except Exception as error:  # zip files break in many ways; each means the same here
            raise ValueError(f"not readable: {error}") from error
        if checksum != _checksum(arrays, made_of):
            raise ValueError("its checksum does not fit")
        return json.loads(made_of), arrays["held_out"], arrays["test"]


def _went(path: Path) -> tuple[float, list[Point]]:
    """Seconds and curve, as they are told beside a file of predictions."""
    told = path.with_suffix(".json")
    if not told.exists():
        return 0.0, []
    try:
        went = json.loads(told.read_text())
        return float(went["seconds"]), [Point(**point) for point in went.get("curve", [])]
    except (ValueError, KeyError, TypeError) as error:
        remedy = f"it only tells how long the fold took and how it went: rm {told}"
        raise Problem(f"{told} is damaged ({error}); {remedy}") from None


def _checksum(arrays: dict[str, np.ndarray], made_of: str) -> str:
    digest = hashlib.sha256(made_of.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
