"""features-knn: k-nearest neighbours on the features of a pretrained network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from competition.models.classical.features import RandomizedPCA
from competition.models.classical.nearest_neighbors import DistanceWeightedVote
from competition.models.classical.pretrained import MeanOfViews
from competition.models.classical.spec import calibrate, classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class FeaturesKnnRecipe:
    """Hyperparameters of the classifier and of the feature space."""

    mirrored: bool | None = None  # whether mirror images keep their label; None: decided within the training rows
    n_neighbors: int = 8
    n_components: int = 200
    label_uncertainty: float = 0.05  # probability spread over all classes, so that none is impossible


def pipeline(recipe: FeaturesKnnRecipe, seed: int) -> Pipeline:
    """Build the pipeline from features to probabilities; vectors of unit length are compared by their angle."""
    return make_pipeline(
        MeanOfViews(recipe.mirrored, seed),
        Normalizer(),
        RandomizedPCA(recipe.n_components, seed),
        calibrate(DistanceWeightedVote(recipe.n_neighbors, recipe.label_uncertainty)),
    )


def search_space(trial: "BaseTrial") -> None:
    """Suggest the hyperparameters."""
    trial.suggest_int("n_neighbors", 1, 30)
    trial.suggest_int("n_components", 40, 400)
    trial.suggest_float("label_uncertainty", 1e-3, 0.3, log=True)


SPEC = classical_spec(pipeline, FeaturesKnnRecipe(), search_space, seconds=20, inputs="features")
