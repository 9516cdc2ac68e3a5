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
from competition.models.interface import Predictor
from competition.models.member import Member

PACK_FILE = "models.pack"
DESCRIPTION, COMBINATION, CLASSES = "blend.json", "combination.npz", "classes.npy"


@dataclass(frozen=True)
class ModelPack:
    """An unpacked file of models."""

    folder: Path
    blend: BlendModels
    classes: np.ndarray
    shape: tuple[int, ...]  # of the images
    versions: dict[str, str]  # of the libraries that saved the models

    def load_model(self, member: Member, fold: int) -> Predictor:
        """Load the model of a member's fold."""
        (path,) = (self.folder / member.name).glob(f"fold-{fold}.*")
        try:
            return member.spec.load(path, len(self.classes))
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
    libraries = sorted({library for member in members for library in member.spec.libraries})
    description = {
        "members": [member.name for member in blend.members],
        "folds": blend.folds,
        "shape": store.dataset.images.shape[1:],
        "versions": {library: installed_version(library) for library in libraries},
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
                _write(archive, f"{member.name}/{model.name}", model.read_bytes())


def read_pack(path: Path, folder: Path) -> ModelPack:
    """Unpack the models into the folder."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    description = json.loads((folder / DESCRIPTION).read_text())
    classes = np.load(folder / CLASSES, allow_pickle=False)
    members = tuple(map(Member.parse, description["members"]))
    blend = BlendModels(members, description["folds"], len(classes), _load_combination(folder / COMBINATION))
    return ModelPack(folder, blend, classes, tuple(description["shape"]), description["versions"])


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
