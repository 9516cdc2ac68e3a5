"""Networks as models; looking one up loads no deep-learning library, building it does."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.models.interface import Classifier, ModelSpec, Predictor
from competition.models.networks.recipe import Recipe
from competition.models.networks.recipe import search as usual

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def network(
    body: Callable[[Any], Any],
    recipe: Recipe,
    seconds: float,
    search: "Callable[[BaseTrial], None]" = usual,
) -> ModelSpec:
    """The spec of a network: the layers between image and logits, and the recipe that trains them."""

    def build(recipe: Recipe, seed: int, shape: tuple[int, ...], classes: int) -> Classifier:
        from competition.models.networks.training import Network

        return Network(body, recipe, seed, shape, classes)

    def load(path: Path, classes: int) -> Predictor:
        from competition.models.networks.training import load

        return load(path)

    return ModelSpec(build, load, recipe, ("keras", "numpy", "scikit-learn", "scipy"), search, seconds)
