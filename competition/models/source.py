"""Digests of the source code that decides a model's predictions.

A digest covers syntax trees without comments, docstrings, import statements and names of modules, so that moving or
renaming a file retrains nothing.
"""

import ast
import hashlib
import json
import os
from functools import cache
from pathlib import Path

from competition.models.registry import available

PACKAGE = Path(__file__).parents[1]
TASK = "competition.crossval.task"  # how a fold is trained and predicted, whatever the model


@cache
def source_digest(module: str) -> str:
    """Digest of a model's module, of all that it imports from the package, and of how tasks run."""
    trees: dict[str, str] = {}
    _collect(module, trees)
    trees[TASK] = _syntax(_path(TASK))[1]
    return hashlib.sha256(json.dumps(sorted(trees.values())).encode()).hexdigest()


@cache
def sources() -> dict[str, str]:
    """Digest of each model's source, by the model's name."""
    return {name: source_digest(f"competition.models.zoo.{name}") for name in available()}


def _collect(module: str, trees: dict[str, str]) -> None:
    """Add the syntax tree of the module and, recursively, of what it imports from the package."""
    path = _path(module)
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


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


def _syntax(path: Path) -> tuple[ast.Module, str]:
    """A file's syntax tree, and the part of it that decides predictions as text.

    Left out of the text are docstrings, imports and `search`, the search space of tuning.
    """
    whole = ast.parse(path.read_text(encoding="utf-8"))
    tree = _WithoutImports().visit(ast.parse(path.read_text(encoding="utf-8")))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "search")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return whole, ast.unparse(ast.fix_missing_locations(tree))


class _WithoutImports(ast.NodeTransformer):
    """Replaces import statements, which name modules, by nothing."""

    def visit_Import(self, node: ast.Import) -> ast.Pass:
        """`import a`."""
        return ast.Pass()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.Pass:
        """`from a import b`."""
        return ast.Pass()


@cache
def keras_backend() -> str:
    """The backend that Keras would take, found out as Keras does, without loading it."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend
    settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    return str(json.loads(settings.read_text()).get("backend", "tensorflow")) if settings.exists() else "tensorflow"
