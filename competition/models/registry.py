"""Model registry: each file in `zoo/` is a model, named after the file, with hyphens for underscores.

A file defines `SPEC` and, optionally, `VARIANTS`: the same model with other recipes, by name. Every network also has
variants `eN`, which train for N epochs. Networks import Keras inside their layer functions, so that looking up
a model loads no deep-learning library.
"""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

from competition.errors import UserError
from competition.models.interface import ModelSpec
from competition.models.networks.spec import with_epochs

LISTS_OF_MODELS = ("best", "all")  # what `MODELS` may be instead of names
EPOCHS = re.compile(r"e([1-9]\d{0,2})")  # a variant with another number of epochs
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
    if variant in variants:
        return variants[variant]
    if module.SPEC.is_network and (match := EPOCHS.fullmatch(variant)):
        return with_epochs(module.SPEC, int(match[1]))
    choices = [f"{name}:{choice}" for choice in variants]
    if module.SPEC.is_network:
        choices.append(f"{name}:eN with N epochs, e.g. {name}:e8")
    raise UserError(f"unknown variant {variant!r} of {name}; available: {', '.join(choices) or 'none'}")
