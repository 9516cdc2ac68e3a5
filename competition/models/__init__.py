"""The folder is the registry: each file beside this one is a model, and its name is the model's.

A file holds a `SPEC`. Networks import Keras inside their function of layers, so that looking a model up, as every
command does, loads no deep-learning library.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from competition.problem import Problem
from competition.recipe import Observer, Recipe


class Classifier(Protocol):
    """What a model's `build` returns."""

    suffix: str  # of the file that `save` writes

    def fit(self, images: np.ndarray, labels: np.ndarray, observer: Observer) -> Self:
        """Learn; whatever is fitted is fitted in here. The observer sees each epoch and never steers."""

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""

    def save(self, path: Path) -> None:
        """Keep what was learned in a form that loads without running foreign code."""


@dataclass(frozen=True)
class ModelSpec:
    """How to build a model, and by which recipe: a frozen dataclass of the model's own."""

    build: Callable[[Any, int, tuple[int, ...], int], Classifier]  # (recipe, seed, image shape, number of classes)
    recipe: Any
    libraries: tuple[str, ...]  # whose versions the result depends on
    seconds: float  # for one fold of 33,600 rows, roughly: it orders the models and gives a first time to go


def network(body: Callable[[Any], Any], recipe: Recipe, seconds: float) -> ModelSpec:
    """The spec of a network: its layers and the recipe that trains them."""

    def build(recipe: Recipe, seed: int, shape: tuple[int, ...], classes: int) -> Classifier:
        from competition.training import Network  # loads TensorFlow

        return Network(body, recipe, seed, shape, classes)

    return ModelSpec(build, recipe, ("tensorflow", "keras", "numpy"), seconds)


def classical(build: Callable[..., Any], recipe: Any, seconds: float) -> ModelSpec:
    """The spec of a scikit-learn pipeline: a function (recipe, seed) that makes it."""

    def wrapped(recipe: Any, seed: int, shape: tuple[int, ...], classes: int) -> Classifier:
        from competition.classical import Classical

        return Classical(build(recipe, seed), classes)

    return ModelSpec(wrapped, recipe, ("scikit-learn", "scipy", "numpy"), seconds)


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
        parts = re.fullmatch(r"([a-z]\w*)(?:\.(0|[1-9]\d{0,8}))?", name)
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
