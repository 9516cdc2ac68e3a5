"""The saved predictions of one split; files that are damaged or have another provenance are never used."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from competition.crossval.folds import Folds, all_rows
from competition.crossval.predictions import (
    CurvePoint,
    FoldPredictions,
    Predictions,
    Provenance,
    combine_folds,
    fingerprint,
    fold_path,
    read_fold,
    read_metadata,
    write_fold,
    write_metadata,
)
from competition.crossval.provenance import provenance_of
from competition.crossval.task import FoldResult, Task
from competition.data.dataset import Dataset
from competition.errors import UserError, command
from competition.files import exclusive_lock, sync_folder, write_atomically
from competition.models.interface import Predictor, Target
from competition.models.member import Member
from competition.models.regression import load_regressor

TRAINED_AS = "member"  # in the provenance of imported predictions: the member's name where it was trained
MODEL_SUFFIXES = (".keras", ".skops")


def _model_files(path: Path) -> list[Path]:
    """The model of the fold whose predictions are in the file `path`, if it was saved."""
    return [path.with_suffix(suffix) for suffix in MODEL_SUFFIXES if path.with_suffix(suffix).exists()]


def _remove_fold(path: Path) -> None:
    """Remove the files of a fold, beginning with its predictions, which mark it as finished."""
    _remove_predictions(path)
    for file in (path.with_suffix(".json"), *_model_files(path)):
        file.unlink(missing_ok=True)


def _remove_predictions(path: Path) -> None:
    """Remove a fold's predictions for good, before anything else of the fold changes."""
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


@dataclass(frozen=True)
class Store:
    """The saved predictions of one split of one competition."""

    folder: Path
    dataset: Dataset
    folds: Folds
    cross_validated: "Store | None" = None  # where models were cross-validated that are trained on all rows here

    @property
    def split_folder(self) -> Path:
        """The folder of the split, with a folder for each member."""
        return self.folder / self.folds.name

    def command(self, name: str, /, **options: object) -> str:
        """How the user runs a command on this split of this competition."""
        if self.cross_validated:
            return self.cross_validated.command(name, **options, refit=self.folds.count)
        return command(name, **options, competition=self.folder.name, folds=self.folds.count, seed=self.folds.seed)

    def refits(self, count: int) -> "Store":
        """The predictions of models that are trained on all rows: `count` of each network, one of each other member."""
        return replace(self, folds=all_rows(self.dataset, count), cross_validated=self)

    def tasks(self, member: Member) -> list[Task]:
        """All training runs of the member. On all rows, models without random weights would be the same each time."""
        uses_all_rows = self.folds.uses_all_rows
        count = 1 if uses_all_rows and not member.spec.is_network else self.folds.count
        return [Task(member, fold, uses_all_rows) for fold in range(count)]

    def reference_seconds(self, member: Member) -> float:
        """Estimate the seconds that one core of the reference machine needs for one training run of the member."""
        return member.training_seconds(self.folds.training_rows, self.dataset.images.shape[1:])

    def reason_to_train(self, member: Member, fold: int) -> str | None:
        """Describe why the fold has to be trained, or return None if it is finished."""
        predictions = self._load(member, fold)
        return predictions if isinstance(predictions, str) else None

    def differing_provenance(self, member: Member, actual: Provenance) -> list[str]:
        """Return what differs from the current code and data."""
        expected = provenance_of(member, self.dataset, self.folds)
        return [name for name in expected if actual.get(name) != expected[name]]

    def save(self, member: Member, fold: int, result: FoldResult, curve: Sequence[CurvePoint] = ()) -> None:
        """Save a finished fold; the predictions are written last, since their file marks the fold as finished.

        Older ones are removed first: if the run is killed, they must not be left with the new model.
        """
        path = self._path(member, fold)
        _remove_fold(path)
        write_atomically(path.with_suffix(result.suffix), result.model)
        write_metadata(path, result.seconds, result.remark, curve)
        write_fold(path, FoldPredictions(result.held_out, result.test, result.provenance))

    def import_predictions(self, member: Member, by_fold: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Save imported (held-out, test) predictions; older ones are removed first so that they cannot be mixed."""
        with exclusive_lock(self.split_folder):
            self._remove_folds(member)
            self._write_imported(member, by_fold, {})

    def import_folds(self, source: Path, name: str) -> Member:
        """Import the folds that a member was trained on elsewhere, by the same package, as the member `@NAME`."""
        member = Member.parse(f"@{name}")
        paths = [fold_path(source, fold) for fold in range(self.folds.count)]
        by_fold = [self._read_foreign_fold(path, fold) for fold, path in enumerate(paths)]
        with exclusive_lock(self.split_folder):
            self._remove_folds(member)
            for fold, path in enumerate(paths):
                seconds, curve = read_metadata(path)
                write_metadata(self._path(member, fold), seconds, "", curve)
                for model in _model_files(path):
                    write_atomically(self._path(member, fold).with_suffix(model.suffix), model.read_bytes())
            origin = by_fold[0].provenance | {TRAINED_AS: source.name}
            self._write_imported(member, [(each.held_out, each.test) for each in by_fold], origin)
        return member

    def _remove_folds(self, member: Member) -> None:
        """Remove all folds of an imported member, predictions first, so that no fold is left with another's model."""
        paths = [self._path(member, fold) for fold in range(self.folds.count)]
        for path in paths:
            _remove_predictions(path)
        for path in paths:
            _remove_fold(path)

    def _write_imported(
        self, member: Member, by_fold: Sequence[tuple[np.ndarray, np.ndarray]], origin: Provenance
    ) -> None:
        """Write imported predictions; `origin` is their provenance elsewhere, if it is known."""
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for both in by_fold for part in both))
        expected = provenance_of(member, self.dataset, self.folds)
        provenance = origin | expected | {"imported": digest.hexdigest()}
        for fold, (held_out, test) in enumerate(by_fold):
            write_fold(self._path(member, fold), FoldPredictions(held_out, test, provenance))

    def _read_foreign_fold(self, path: Path, fold: int) -> FoldPredictions:
        """Read a fold that was trained elsewhere; raise `UserError` unless data and split are the same."""
        try:
            predictions = read_fold(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is missing or damaged ({error})") from None
        for what, expected in (("data", self.dataset.digest), ("split", self.folds.digest)):
            if predictions.provenance.get(what) != expected:
                raise UserError(f"{path} was made with different {what}")
        classes = len(self.dataset.classes)
        rows = int((self.folds.held_out == fold).sum()), len(self.dataset.test_ids)
        if (predictions.held_out.shape, predictions.test.shape) != ((rows[0], classes), (rows[1], classes)):
            raise UserError(f"{path} has other rows or classes than {self.dataset.cache.parent.parent}")
        return predictions

    def predictions(self, member: Member) -> Predictions:
        """Combine the member's finished folds."""
        dataset, outputs = self.dataset, len(self.dataset.classes)
        loaded = {task.fold: self._load(member, task.fold) for task in self.tasks(member)}
        folds = {fold: predictions for fold, predictions in loaded.items() if not isinstance(predictions, str)}
        shapes = (len(dataset.labels), outputs), (len(dataset.test_ids), outputs)
        oof, test = combine_folds(folds, self.folds.held_out, len(loaded), *shapes)
        metadata = [read_metadata(self._path(member, fold)) for fold in folds]
        seconds, curves = sum(seconds for seconds, _ in metadata), [curve for _, curve in metadata]
        return Predictions(member.name, oof, test, seconds, self.fingerprint(member), curves)

    def require_models(self, members: Sequence[Member]) -> None:
        """Raise `UserError` unless all members have models; imported ones have if this package trained them."""
        unable = [member for member in members if member.is_imported and not _model_files(self._path(member, 0))]
        self._raise_if_any(unable, members, "was imported as predictions only")

    def require_image_models(self, members: Sequence[Member]) -> None:
        """Raise `UserError` unless all members can predict new images."""
        self.require_models(members)
        unable = [member for member in members if self.trained_as(member).uses_columns]
        self._raise_if_any(unable, members, "learns from columns alongside the images")

    def _raise_if_any(self, unable: Sequence[Member], members: Sequence[Member], reason: str) -> None:
        """Raise `UserError` if any of the members cannot predict new images."""
        if unable:
            names = " ".join(member.name for member in members if member not in unable) or "..."
            raise UserError(
                f"{unable[0].name} {reason} and cannot predict new images; "
                f"make a submission without it: {self.command('submit', models=names)}"
            )

    def trained_as(self, member: Member) -> Member:
        """The member whose spec loads the models: the member itself, or what an imported one was elsewhere."""
        if not member.is_imported:
            return member
        first = self._load(member, 0)
        if isinstance(first, str):
            raise UserError(f"the predictions of {member.name} are incomplete ({first}); import them again")
        provenance = first.provenance
        return Member.parse(provenance[TRAINED_AS]) if TRAINED_AS in provenance else member

    def load_model(self, member: Member, fold: int) -> Predictor:
        """Load the model of a finished fold, to predict new images; it was trained without that fold's rows."""
        self.require_image_models([member])
        model = self.model_path(member, fold)
        try:
            spec, target = self.trained_as(member).spec, Target.of(self.dataset.labels, self.dataset.classes)
            if target.kind == "number":
                return load_regressor(spec.load, model, self.dataset.labels[self.folds.held_out != fold])
            return spec.load(model, target)
        except Exception as error:  # each library has its own errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"cannot load {model} ({reason}); if it is damaged, {self._model_remedy(member, fold)}"
            ) from error

    def model_path(self, member: Member, fold: int) -> Path:
        """The file of a finished fold's model."""
        self.require_models([member])
        path = self._path(member, fold)
        models, name = _model_files(path), Task(member, fold, self.folds.uses_all_rows).name
        if self.reason_to_train(member, fold):
            raise UserError(f"{name} is not trained; run `{self._training_command(member)}`")
        if not models:
            raise UserError(f"the model of {name} is missing in {path.parent}; {self._model_remedy(member, fold)}")
        return models[0]

    def _model_remedy(self, member: Member, fold: int) -> str:
        """How the user gets another model in place of one that is missing or damaged."""
        if member.is_imported:
            return f"import {member.name} again, or make a submission without it"
        path = self._path(member, fold)
        return f"train it again: {shlex.join(['rm', str(path)])} && {self._training_command(member)}"

    def _training_command(self, member: Member) -> str:
        """How the user trains the member here; `reproduce` trains what is missing and changes no submission."""
        if self.cross_validated:
            return command("reproduce", number="...", competition=self.folder.name)
        return self.command("cv", models=member.name)

    def fingerprint(self, member: Member) -> str:
        """Return the fingerprint of the current code and data or, for an imported member, of what was imported."""
        if member.is_imported and not self.reason_to_train(member, 0):
            return fingerprint(read_fold(self._path(member, 0)).provenance)
        return fingerprint(provenance_of(member, self.dataset, self.folds))

    def seconds(self, member: Member, fold: int) -> float:
        """Return how long the finished fold took."""
        return read_metadata(self._path(member, fold))[0]

    def curve(self, member: Member, fold: int) -> list[CurvePoint]:
        """Return the learning curve of the finished fold; empty if it had no epochs."""
        return read_metadata(self._path(member, fold))[1]

    def curves(self) -> Iterator[tuple[str, int, list[CurvePoint]]]:
        """Yield (member, fold, curve) of every saved fold, whatever it was made from."""
        for path in sorted(self.split_folder.glob("*/fold-*.npz")):
            yield path.parent.name, int(path.stem.removeprefix("fold-")), read_metadata(path)[1]

    def _load(self, member: Member, fold: int) -> FoldPredictions | str:
        """Return the finished fold's predictions, or describe why there are none."""
        path = self._path(member, fold)
        if not path.exists():
            return "not trained yet"
        try:
            predictions = read_fold(path)
        except (OSError, ValueError, KeyError) as error:
            return f"{path} is damaged ({error})"
        differing = self.differing_provenance(member, predictions.provenance)
        return f"made with different {', '.join(differing)}" if differing else predictions

    def _path(self, member: Member, fold: int) -> Path:
        return fold_path(self.split_folder / member.name, fold)
