"""The folder is the registry: each file beside this one is a model, and its name is the model's.

A file holds a `SPEC`. Networks import Keras inside their function of layers, so that looking a model up, as every
command does, loads no deep-learning library.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from competition.problem import Problem
from competition.spec import ModelSpec


@dataclass(frozen=True)
class Member:
    """A model with its recipe and seed, as one types it: `quick`, or `quick.3` for seed 3."""

    name: str
    model: str
    seed: int
    recipe: Any

    @classmethod
    def named(cls, name: str) -> "Member":
        """The member of this name; a bare model's seed is 0."""
        parts = re.fullmatch(r"([a-z]\w*)(?:\.([1-9]\d{0,8}))?", name)
        if not parts:
            raise Problem(f"{name!r} is no member; write a model and, if you like, a seed: quick or quick.1")
        return cls(name, parts[1], int(parts[2] or 0), load(parts[1]).recipe)


def available() -> list[str]:
    """The names of all models."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


@cache
def load(name: str) -> ModelSpec:
    """The spec in models/<name>.py; only that file is read."""
    if name not in available():
        raise Problem(f"no model {name!r}; choose from {', '.join(available())}, or add competition/models/{name}.py")
    return import_module(f"{__name__}.{name}").SPEC
