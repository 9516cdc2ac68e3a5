"""The models of a blend in one file, to predict where they were not trained.

The file is a zip archive; its name does not say so, because Kaggle unpacks the archives of data sets.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from competition.crossval.store import Store
from competition.deploy.predict import BlendModels
from competition.ensemble import blenders
from competition.ensemble.blenders import Combination, PerLabel
from competition.errors import UserError
from competition.files import atomic_file
from competition.models.interface import Predictor, Target
from competition.models.libraries import installed_version
from competition.models.member import Member
from competition.models.pretrained.extractor import Extractor
from competition.models.regression import BinnedPredictor, Bins
from competition.scoring import decisions
from competition.scoring.calibration import Calibration
from competition.scoring.decisions import Decision

PACK_FILE = "models.pack"
OPERATIONS = ("keras.ops", "keras.src.ops")  # modules of the functions that became layers of a network
NEW_SETTINGS = ("quantization_config", "input_axes", "output_axes")  # since Keras 3.8
DESCRIPTION, COMBINATION, DECISION = "blend.json", "combination.npz", "decision.npz"
CLASSES, BINS = "classes.npy", "bins-{}.npz"
PRETRAINED = "pretrained"  # the folder of the pretrained network's weights


@dataclass(frozen=True)
class ModelPack:
    """An unpacked file of models."""

    folder: Path
    blend: BlendModels
    classes: np.ndarray
    shape: tuple[int, ...]  # of the images
    columns: tuple[str, ...]  # alongside the images
    versions: dict[str, str]  # of the libraries that saved the models here
    trained_as: dict[str, str]  # names of the members whose specs load the models
    extractor: Extractor | None  # the pretrained network from which some members learn

    def load_model(self, member: Member, fold: int) -> Predictor:
        """Load one of a member's models."""
        (path,) = (self.folder / member.name).glob(f"fold-{fold}.*")
        try:
            load = Member.parse(self.trained_as[member.name]).spec.load
            if self.blend.target.kind != "number":
                return load(path, self.blend.target)
            with np.load(self.folder / BINS.format(fold), allow_pickle=False) as arrays:
                bins = Bins(**arrays)
            return BinnedPredictor(load(path, bins.target), bins)
        except Exception as error:  # each library has its own errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"cannot load model {fold} of {member.name} ({reason}){self._explain_versions()}"
            ) from error

    def _explain_versions(self) -> str:
        """That other versions of libraries may be the reason."""
        other = [
            f"{name} {version}, here {installed_version(name)}"
            for name, version in self.versions.items()
            if version != installed_version(name)
        ]
        return f"; it was saved with {', '.join(other)}: train it with these versions" if other else ""


def write_pack(path: Path, store: Store, blend: BlendModels, extractor: Extractor | None = None) -> None:
    """Write the models of all members that have a weight, and the pretrained network from which some learn."""
    members = list(blend.positions)
    store.require_models(members)
    trained_as = {member.name: store.trained_as(member) for member in members}
    libraries = sorted({library for member in trained_as.values() for library in member.spec.libraries})
    description = {
        "members": [member.name for member in blend.members],
        "inputs": blend.inputs,
        "counts": blend.counts,
        "uses_all_rows": blend.uses_all_rows,
        "kind": blend.target.kind,
        "shape": store.dataset.images.shape[1:],
        "columns": [str(name) for name in store.dataset.column_names],
        "versions": {library: installed_version(library) for library in libraries},
        "trained_as": {name: member.name for name, member in trained_as.items()},
        "extractor": _describe_extractor(extractor) if extractor else None,
        "weights": extractor.file.name if extractor else None,
    }
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _write(archive, DESCRIPTION, json.dumps(description).encode())
        _write(archive, COMBINATION, _save_combination(blend.combination))
        if blend.decision:
            _write(archive, DECISION, save_decision(blend.decision))
        _write(archive, CLASSES, _save_array(store.dataset.classes))
        if blend.target.kind == "number":
            for fold in range(max(blend.counts)):
                bins = Bins.fit(store.dataset.labels[store.folds.held_out != fold])
                _write(archive, BINS.format(fold), _save_arrays(asdict(bins)))
        if extractor:
            _write(archive, f"{PRETRAINED}/{extractor.file.name}", extractor.file.read_bytes())
        for member, number in blend.positions.items():
            for fold in range(blend.counts[number]):
                model = store.model_path(member, fold)
                content = model.read_bytes()
                _write(
                    archive,
                    f"{member.name}/{model.name}",
                    make_portable(content) if model.suffix == ".keras" else content,
                )


def read_pack(path: Path, folder: Path) -> ModelPack:
    """Unpack the models into the folder."""
    folder = folder.absolute()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    classes = np.load(folder / CLASSES, allow_pickle=False)
    blend = BlendModels(
        tuple(map(Member.parse, description["members"])),
        tuple(description["counts"]),
        Target(description["kind"], len(classes)),
        _load_combination(folder / COMBINATION),
        tuple(description["inputs"]),
        description["uses_all_rows"],
        load_decision(folder / DECISION) if (folder / DECISION).exists() else None,
    )
    extractor = description["extractor"]
    return ModelPack(
        folder,
        blend,
        classes,
        tuple(description["shape"]),
        tuple(description["columns"]),
        description["versions"],
        description["trained_as"],
        Extractor(**extractor, file=folder / PRETRAINED / description["weights"]) if extractor else None,
    )


def _describe_extractor(extractor: Extractor) -> dict[str, Any]:
    """The extractor without its file, in float32, which every machine has."""
    settings = {field.name: getattr(extractor, field.name) for field in fields(extractor) if field.compare}
    return settings | {"precision": "float32"}


def make_portable(network: bytes) -> bytes:
    """A saved Keras network without the settings that are not set and that older versions of Keras do not know."""
    source, target = io.BytesIO(network), io.BytesIO()
    with zipfile.ZipFile(source) as members, zipfile.ZipFile(target, "w") as archive:
        for name in members.namelist():
            content = members.read(name)
            if name == "config.json":
                content = json.dumps(_without_new_settings(json.loads(content))).encode()
            _write(archive, name, content)
    return target.getvalue()


def _without_new_settings(value: Any) -> Any:
    """A network's configuration as older versions of Keras wrote it, in which operations have no name of their own."""
    if isinstance(value, list):
        return [_without_new_settings(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_operation = str(value.get("module")).startswith(OPERATIONS) and "name" in value.get("config", {})
    if is_operation:
        value = value | {"config": {name: each for name, each in value["config"].items() if name != "name"}}
    return {
        name: _without_new_settings(each)
        for name, each in value.items()
        if each is not None or name not in NEW_SETTINGS
    }


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file, always with the same time, so that equal models give an equal file."""
    archive.writestr(zipfile.ZipInfo(name), content)


def _save_array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _save_arrays(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _save_combination(combination: Combination) -> bytes:
    inner = combination.binary if isinstance(combination, PerLabel) else combination
    settings: Mapping[str, Any] = asdict(inner)  # type: ignore[call-overload]  # all combinations are dataclasses
    return _save_arrays({"kind": type(inner).__name__, "per_label": inner is not combination, **settings})


def _load_combination(path: Path) -> Combination:
    with np.load(path, allow_pickle=False) as file:
        settings = {name: file[name] for name in file.files}
    kind, is_per_label = str(settings.pop("kind")), bool(settings.pop("per_label"))
    combination: Combination = getattr(blenders, kind)(**settings)
    return PerLabel(combination) if is_per_label else combination


def save_decision(decision: Decision) -> bytes:
    """The decision, as the content of a file."""
    settings = asdict(decision)
    return _save_arrays({"kind": type(decision).__name__, **settings.pop("calibration"), **settings})


def load_decision(path: Path) -> Decision:
    """What `save_decision` wrote."""
    with np.load(path, allow_pickle=False) as file:
        settings = {name: file[name] for name in file.files}
    kind = getattr(decisions, str(settings.pop("kind")))
    slope, is_multilabel = float(settings.pop("slope")), bool(settings.pop("is_multilabel"))
    calibration = Calibration(slope, settings.pop("offsets"), is_multilabel)
    decision: Decision = kind(calibration, **settings)
    return decision
