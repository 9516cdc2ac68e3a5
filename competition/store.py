"""What cross-validation has predicted: one file for each (member, fold), under the split's folder.

    folds/<competition>/<split>/<member>/fold-0.npz      the predictions, nothing that differs between equal runs
                                         fold-0.json     when and how long
                                         fold-0.keras    the model itself (.skops for scikit-learn)

Each file of predictions carries a checksum and the ingredients that made it. What other ingredients made, or a damaged
file, is never read as if it were the one wanted.
"""

import ast
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from competition import models
from competition.data import Dataset
from competition.files import write_whole
from competition.folds import Folds
from competition.models import Member
from competition.task import FoldResult

PACKAGE = Path(__file__).parent
Ingredients = dict[str, str]


@dataclass(frozen=True)
class Predictions:
    """A member's predictions, rows in Dataset order."""

    member: str
    oof: np.ndarray  # (train rows, classes); NaN where nothing has predicted yet
    test: np.ndarray  # (folds, test rows, classes)
    seconds: float  # of training and predicting, over all folds
    fingerprint: str


@dataclass(frozen=True)
class Store:
    """The predictions of one split of one competition."""

    folder: Path
    dataset: Dataset
    folds: Folds

    def ingredients(self, member: Member) -> Ingredients:
        """Everything that decides what the member predicts, a line each."""
        spec = models.load(member.model)
        made_of = {
            "data": self.dataset.digest,
            "split": self.folds.digest,
            "recipe": _readable(member.recipe),
            "seed": str(member.seed),
            "source": source_digest(f"competition.models.{member.model}"),
        }
        if "keras" in spec.libraries:
            made_of["backend"] = _keras_backend()
        return made_of | {library: version(library) for library in spec.libraries}

    def changed(self, member: Member, fold: int) -> str | None:
        """Why the fold has to be trained: a reason in words, or None where it is finished."""
        path = self._path(member, fold)
        if not path.exists():
            return "not trained yet"
        try:
            made_of = self._read(path)[0]
        except (OSError, ValueError, KeyError) as error:
            return f"{path} is damaged ({error})"
        wanted = self.ingredients(member)
        differences = [name for name in wanted if made_of.get(name) != wanted[name]]
        return f"made with another {', '.join(differences)}" if differences else None

    def save(self, member: Member, fold: int, result: FoldResult) -> None:
        """Keep a finished fold; the predictions come last, since with them it counts as finished."""
        path = self._path(member, fold)
        write_whole(path.with_suffix(result.suffix), result.model)
        write_whole(path.with_suffix(".json"), json.dumps({"seconds": round(result.seconds, 2)}).encode())
        arrays = {"held_out": result.held_out.astype(np.float32), "test": result.test.astype(np.float32)}
        made_of = json.dumps(self.ingredients(member), sort_keys=True)
        buffer = BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, made_of=made_of, checksum=_checksum(arrays, made_of))
        write_whole(path, buffer.getvalue())

    def predictions(self, member: Member) -> Predictions:
        """The member's finished folds, put together."""
        dataset, count = self.dataset, self.folds.count
        oof = np.full((len(dataset.labels), len(dataset.classes)), np.nan, dtype=np.float32)
        test = np.full((count, len(dataset.test_ids), len(dataset.classes)), np.nan, dtype=np.float32)
        seconds = 0.0
        for fold in range(count):
            if self.changed(member, fold) is None:
                _, oof[self.folds.held_out == fold], test[fold] = self._read(self._path(member, fold))
                seconds += self.seconds(member, fold)
        return Predictions(member.name, oof, test, seconds, fingerprint(self.ingredients(member)))

    def seconds(self, member: Member, fold: int) -> float:
        """How long the finished fold took."""
        path = self._path(member, fold).with_suffix(".json")
        return float(json.loads(path.read_text())["seconds"]) if path.exists() else 0.0

    def _path(self, member: Member, fold: int) -> Path:
        return self.folder / self.folds.name / member.name / f"fold-{fold}.npz"

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


def fingerprint(ingredients: Ingredients) -> str:
    """One digest for all ingredients."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


@cache
def source_digest(module: str) -> str:
    """Digest of a model's module, of all it uses and of how tasks run; blind to comments, docstrings and layout."""
    trees = {"competition.task": _syntax(PACKAGE / "task.py")[1]}
    _collect(module, trees)
    return hashlib.sha256(json.dumps(trees, sort_keys=True).encode()).hexdigest()


def _collect(module: str, trees: dict[str, str]) -> None:
    """Add the syntax tree of the module and, recursively, of what it imports from the package."""
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    if module in trees or not path.exists():
        return
    tree, trees[module] = _syntax(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            _collect(str(node.module), trees)


def _syntax(path: Path) -> tuple[ast.Module, str]:
    """A file's syntax tree without docstrings, and the same as text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree, ast.unparse(tree)


def _readable(recipe: Any) -> str:
    """A recipe's settings in words that are the same in every process: functions by their names."""
    if hasattr(recipe, "__dataclass_fields__"):
        settings = (f"{name}={_readable(getattr(recipe, name))}" for name in recipe.__dataclass_fields__)
        return f"{type(recipe).__name__}({', '.join(settings)})"
    return recipe.__name__ if callable(recipe) else repr(recipe)


@cache
def _keras_backend() -> str:
    """The backend that Keras would take, found out as Keras does, without loading it."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend
    settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    return str(json.loads(settings.read_text()).get("backend", "tensorflow")) if settings.exists() else "tensorflow"


def _checksum(arrays: dict[str, np.ndarray], made_of: str) -> str:
    digest = hashlib.sha256(made_of.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
