"""The models of a blend in one file, to predict where they were not trained.

The file is a zip archive; its name does not say so, because Kaggle unpacks the archives of data sets.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.crossval.provenance import installed_version
from competition.crossval.store import Store
from competition.deploy.predict import BlendModels
from competition.ensemble import blenders
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.files import atomic_file
from competition.models.interface import Predictor, Target
from competition.models.member import Member

PACK_FILE = "models.pack"
OPERATIONS = ("keras.ops", "keras.src.ops")  # modules of the functions that became layers of a network
NEW_SETTINGS = ("quantization_config", "input_axes", "output_axes")  # since Keras 3.8
DESCRIPTION, COMBINATION, CLASSES = "blend.json", "combination.npz", "classes.npy"


@dataclass(frozen=True)
class ModelPack:
    """An unpacked file of models."""

    folder: Path
    blend: BlendModels
    classes: np.ndarray
    shape: tuple[int, ...]  # of the images
    versions: dict[str, str]  # of the libraries that saved the models here
    trained_as: dict[str, str]  # names of the members whose specs load the models

    def load_model(self, member: Member, fold: int) -> Predictor:
        """Load the model of a member's fold."""
        (path,) = (self.folder / member.name).glob(f"fold-{fold}.*")
        try:
            return Member.parse(self.trained_as[member.name]).spec.load(path, self.blend.target)
        except Exception as error:  # each library has its own errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(f"cannot load {member.name} fold {fold} ({reason}){self._explain_versions()}") from error

    def _explain_versions(self) -> str:
        """That other versions of libraries may be the reason."""
        other = [
            f"{name} {version}, here {installed_version(name)}"
            for name, version in self.versions.items()
            if version != installed_version(name)
        ]
        return f"; it was saved with {', '.join(other)}: train it with these versions" if other else ""


def write_pack(path: Path, store: Store, blend: BlendModels) -> None:
    """Write the models of all members that have a weight."""
    members = list(blend.positions)
    store.require_image_models(members)
    if pretrained := [member.name for member in members if member.uses_features]:
        others = " ".join(member.name for member in members if not member.uses_features) or "..."
        remedy = f"make a submission without it: {store.command('submit', models=others)}"
        raise UserError(f"{pretrained[0]} learns from pretrained features, which a notebook cannot compute; {remedy}")
    libraries = sorted({library for member in members for library in member.spec.libraries})
    trained_as = {member.name: store.trained_as(member).name for member in members}
    description = {
        "members": [member.name for member in blend.members],
        "folds": blend.folds,
        "shape": store.dataset.images.shape[1:],
        "versions": {library: installed_version(library) for library in libraries},
        "trained_as": trained_as,
    }
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _write(archive, DESCRIPTION, json.dumps(description).encode())
        _write(archive, COMBINATION, _save_combination(blend.combination))
        buffer = io.BytesIO()
        np.save(buffer, store.dataset.classes, allow_pickle=False)
        _write(archive, CLASSES, buffer.getvalue())
        for member in members:
            for fold in range(blend.folds):
                model = store.model_path(member, fold)
                content = model.read_bytes()
                _write(
                    archive, f"{member.name}/{model.name}", portable(content) if model.suffix == ".keras" else content
                )


def read_pack(path: Path, folder: Path) -> ModelPack:
    """Unpack the models into the folder."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    classes = np.load(folder / CLASSES, allow_pickle=False)
    members = tuple(map(Member.parse, description["members"]))
    blend = BlendModels(
        members, description["folds"], Target("class", len(classes)), _load_combination(folder / COMBINATION)
    )
    return ModelPack(
        folder, blend, classes, tuple(description["shape"]), description["versions"], description["trained_as"]
    )


def portable(network: bytes) -> bytes:
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


def _save_combination(combination: Combination) -> bytes:
    buffer = io.BytesIO()
    fields: Mapping[str, Any] = asdict(combination)  # type: ignore[call-overload]  # all combinations are dataclasses
    np.savez(buffer, allow_pickle=False, kind=type(combination).__name__, **fields)
    return buffer.getvalue()


def _load_combination(path: Path) -> Combination:
    with np.load(path, allow_pickle=False) as file:
        fields = {name: file[name] for name in file.files}
    combination: Combination = getattr(blenders, str(fields.pop("kind")))(**fields)
    return combination
