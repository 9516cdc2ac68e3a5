"""Specs of Keras networks. Creating a spec loads no deep-learning library; building the network does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.models.interface import Classifier, ModelSpec, Predictor, Target
from competition.models.networks.recipe import Recipe
from competition.models.networks.recipe import search_space as default_search_space

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def network_spec(
    backbone: Callable[[Any], Any],
    recipe: Recipe,
    seconds: float,
    search_space: "Callable[[BaseTrial], None]" = default_search_space,
) -> ModelSpec:
    """Create the spec of a network from its backbone (the layers between image and logits) and its recipe."""

    def build(recipe: Recipe, seed: int, shape: tuple[int, ...], target: Target) -> Classifier:
        from competition.models.networks.training import Network

        return Network(backbone, recipe, seed, shape, target)

    def load(path: Path, target: Target) -> Predictor:
        from competition.models.networks.training import load_network

        return load_network(path)

    return ModelSpec(build, load, recipe, ("keras", "numpy", "scikit-learn", "scipy"), search_space, seconds)


def with_epochs(spec: ModelSpec, epochs: int) -> ModelSpec:
    """The same network with another number of epochs, and of steps if there are few rows."""
    fraction = epochs / spec.recipe.epochs
    recipe = replace(spec.recipe, epochs=epochs, min_steps=round(fraction * spec.recipe.min_steps))
    return replace(spec, recipe=recipe, seconds=fraction * spec.seconds)
