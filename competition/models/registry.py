"""The folder `zoo/` is the registry: each file in it is a model, and the file's name is the model's.

A file holds a `SPEC` and, where the same layers are known with other recipes, `VARIANTS` of it by name. Networks
import Keras inside their function of layers, so that looking a model up loads no deep-learning library.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from competition.errors import Problem
from competition.models.interface import ModelSpec

ZOO = Path(__file__).parent / "zoo"


def available() -> list[str]:
    """The names of all models."""
    return sorted(path.stem for path in ZOO.glob("*.py") if path.stem != "__init__")


@cache
def load(name: str, variant: str | None = None) -> ModelSpec:
    """The spec in zoo/<name>.py, or a variant of it; only that file is imported."""
    if name not in available():
        raise Problem(
            f"no model {name!r}; choose from {', '.join(available())}, or add competition/models/zoo/{name}.py"
        )
    module = import_module(f"competition.models.zoo.{name}")
    if variant is None:
        return module.SPEC
    variants = getattr(module, "VARIANTS", {})
    if variant not in variants:
        known = ", ".join(f"{name}:{one}" for one in variants) or "none"
        raise Problem(f"{name} has no variant {variant!r}; there are: {known}")
    return variants[variant]
