"""linear: oriented gradients, likeness to examples, ridge regression: fixed features in stages, a linear machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.augmented_copies import WithCopies
from competition.models.classical.features import Deskew, Hog, Likeness, Projection
from competition.models.classical.spec import calibrated, classical

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Stages:
    """How wide each stage is."""

    components: int = 120
    examples: int = 3_000  # to which an image's likeness is measured
    sharpness: float = 1.0  # how fast likeness falls off
    penalty: float = 0.1
    copies: int = 1  # of each training image
    rotation: float = 8.0  # degrees
    zoom: float = 0.1


def pipeline(recipe: Stages, seed: int) -> Pipeline:
    """From images to probabilities."""
    stages = make_pipeline(
        Deskew(),
        Hog(),
        Projection(recipe.components, seed),
        Likeness(recipe.examples, recipe.sharpness, seed),
        RidgeClassifier(recipe.penalty, solver="cholesky"),
    )
    taught = WithCopies(stages, recipe.copies, recipe.rotation, recipe.zoom, seed)
    return make_pipeline(calibrated(taught))


def search(trial: "BaseTrial") -> None:
    """All but the numbers of examples and copies, of which more are better and slower."""
    trial.suggest_int("components", 40, 240)
    trial.suggest_float("sharpness", 0.1, 10.0, log=True)
    trial.suggest_float("penalty", 1e-3, 1e2, log=True)
    trial.suggest_float("rotation", 0.0, 15.0)
    trial.suggest_float("zoom", 0.0, 0.3)


SPEC = classical(pipeline, Stages(), search, seconds=40)
