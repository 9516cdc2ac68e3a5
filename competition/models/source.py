"""Digests of the source code that determines a model's predictions.

A digest covers syntax trees without comments, docstrings, import statements and module names, so that moving or
renaming a file does not trigger retraining.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from competition.models.registry import available_models, model_module

PACKAGE = Path(__file__).parents[1]
TASK_MODULES = ("competition.crossval.task", "competition.models.regression")  # how folds of every model are trained


@cache
def source_digest(module: str) -> str:
    """Digest of a model's module, of everything that it imports from the package, and of the fold task."""
    sources = _collect_imported(module) | {name: _normalized_source(name) for name in TASK_MODULES}
    return _digest_sources(sources)


@cache
def module_digest(module: str) -> str:
    """Digest of a module and of everything that it imports from the package."""
    return _digest_sources(_collect_imported(module))


@cache
def package_digest() -> str:
    """Digest of all files of the package, exactly as they are."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def model_digests() -> dict[str, str]:
    """Source digest of each model, by model name."""
    return {name: source_digest(model_module(name)) for name in available_models()}


def _digest_sources(sources: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(sources.values())).encode()).hexdigest()


def _collect_imported(module: str) -> dict[str, str]:
    """The normalized sources of a module and of what it imports from the package."""
    if not _path(module).exists():
        raise FileNotFoundError(f"{_path(module)} is missing")
    sources: dict[str, str] = {}
    _collect_sources(module, sources)
    return sources


def _collect_sources(module: str, sources: dict[str, str]) -> None:
    """Add the normalized source of the module and, recursively, of what it imports from the package."""
    if module in sources or not _path(module).exists():
        return
    sources[module] = _normalized_source(module)
    for node in ast.walk(_parse(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            # `from competition import blocks` imports a module, `from competition.blocks import x` a name in one.
            names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
        for name in names:
            if name.startswith(f"{PACKAGE.name}."):
                _collect_sources(name, sources)


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


def _parse(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _normalized_source(module: str) -> str:
    """Source code without comments, docstrings, imports and the function `search_space`."""
    tree = _ImportRemover().visit(_parse(module))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "search_space")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(tree))


class _ImportRemover(ast.NodeTransformer):
    """Replace import statements with `pass`."""

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.Pass:
        """Replace `import a` or `from a import b`."""
        return ast.Pass()

    visit_ImportFrom = visit_Import  # noqa: N815 the name that ast calls
