"""What made a prediction, so that nothing made otherwise is ever taken for it."""

import ast
import hashlib
import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from competition.data import Dataset
from competition.folds import Folds
from competition.models import Member, available

PACKAGE = Path(__file__).parent
Ingredients = dict[str, str]


def ingredients(member: Member, dataset: Dataset, folds: Folds) -> Ingredients:
    """Everything that decides what the member predicts, a line each."""
    given = {"data": dataset.digest, "split": folds.digest}
    return given if member.imported else given | ingredients_of(member)


def ingredients_of(member: Member) -> Ingredients:
    """What is the member's own among them, whatever rows it is taught by."""
    libraries = member.spec.libraries
    made_of = {
        "recipe": readable(member.recipe),
        "seed": str(member.seed),
        "source": source_digest(f"competition.models.{member.model}"),
    }
    if "keras" in libraries:
        made_of["backend"] = keras_backend()
        libraries += (made_of["backend"],)
    return made_of | {library: version(library) for library in libraries}


def fingerprint(made_of: Ingredients) -> str:
    """One digest for all ingredients."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


@cache
def source_digest(module: str) -> str:
    """Digest of a model's module, of all it uses and how tasks run; blind to comments, layout and search spaces."""
    trees = {"competition.task": _syntax(PACKAGE / "task.py")[1]}
    _collect(module, trees)
    return hashlib.sha256(json.dumps(trees, sort_keys=True).encode()).hexdigest()


@cache
def sources() -> dict[str, str]:
    """Digest of each model's source, by the model's name."""
    return {name: source_digest(f"competition.models.{name}") for name in available()}


def _collect(module: str, trees: dict[str, str]) -> None:
    """Add the syntax tree of the module and, recursively, of what it imports from the package."""
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if module in trees or not path.exists():
        return
    tree, trees[module] = _syntax(path)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            # `from competition import blocks` names a module, `from competition.blocks import x` is in one.
            names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
        for name in names:
            if name.startswith(f"{PACKAGE.name}."):
                _collect(name, trees)


def _syntax(path: Path) -> tuple[ast.Module, str]:
    """A file's syntax tree without docstrings and `search`, which decides no prediction; and the same as text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "search")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree, ast.unparse(tree)


def readable(recipe: Any) -> str:
    """A recipe's settings in words that are the same in every process: functions by their names."""
    if hasattr(recipe, "__dataclass_fields__"):
        settings = (f"{name}={readable(getattr(recipe, name))}" for name in recipe.__dataclass_fields__)
        return f"{type(recipe).__name__}({', '.join(settings)})"
    return recipe.__name__ if callable(recipe) else repr(recipe)


@cache
def keras_backend() -> str:
    """The backend that Keras would take, found out as Keras does, without loading it."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend
    settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    return str(json.loads(settings.read_text()).get("backend", "tensorflow")) if settings.exists() else "tensorflow"
