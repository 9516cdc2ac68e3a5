"""Model registry: each file in `zoo/` is a model, named after the file, with hyphens for underscores.

A file defines `SPEC` and, optionally, `VARIANTS`: the same model with other recipes, by name. Networks import Keras
inside their layer functions, so that looking up a model loads no deep-learning library.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from competition.errors import UserError
from competition.models.interface import ModelSpec

LISTS_OF_MODELS = ("best", "all")  # what `MODELS` may be instead of names
ZOO = Path(__file__).parent / "zoo"


def available_models() -> list[str]:
    """Names of all models, sorted."""
    return sorted(path.stem.replace("_", "-") for path in ZOO.glob("*.py") if path.stem != "__init__")


def model_module(name: str) -> str:
    """The module that defines a model."""
    return f"competition.models.zoo.{name.replace('-', '_')}"


@cache
def load_spec(name: str, variant: str | None = None) -> ModelSpec:
    """Load the spec in zoo/<name>.py, or a variant of it; no other model is imported."""
    if name in LISTS_OF_MODELS:
        raise UserError(f"`{name}` cannot be combined with other models, a seed or a variant; use it alone")
    if name not in available_models():
        raise UserError(
            f"unknown model {name!r}; choose from {', '.join(available_models())}, "
            f"or add competition/models/zoo/{name.replace('-', '_')}.py"
        )
    module = import_module(model_module(name))
    if variant is None:
        return module.SPEC
    variants = getattr(module, "VARIANTS", {})
    if variant not in variants:
        choices = ", ".join(f"{name}:{choice}" for choice in variants) or "none"
        raise UserError(f"unknown variant {variant!r} of {name}; available: {choices}")
    return variants[variant]
