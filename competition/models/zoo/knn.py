"""knn: k-nearest neighbours on the histograms of oriented gradients of deskewed images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.features import Deskew, Hog, LightOnDark, Pixels, RandomizedPCA, WithinClassWhitening
from competition.models.classical.nearest_neighbors import DistanceWeightedVote
from competition.models.classical.spec import calibrate, classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class KnnRecipe:
    """Hyperparameters of the classifier and of the feature space."""

    n_neighbors: int = 5
    n_components: int = 120
    whitening: float = 0.25  # power of the within-class whitening: 0 is none, 0.5 is full
    label_uncertainty: float = 0.05  # probability spread over all classes, so that none is impossible


def pipeline(recipe: KnnRecipe, seed: int) -> Pipeline:
    """Build the pipeline from images to probabilities."""
    classifier = make_pipeline(
        WithinClassWhitening(recipe.whitening), DistanceWeightedVote(recipe.n_neighbors, recipe.label_uncertainty)
    )
    features = Deskew(), Hog(), RandomizedPCA(recipe.n_components, seed)
    return make_pipeline(LightOnDark(), *features, calibrate(classifier))


def search_space(trial: "BaseTrial") -> None:
    """Suggest all hyperparameters."""
    trial.suggest_int("n_neighbors", 1, 15)
    trial.suggest_int("n_components", 40, 240)
    trial.suggest_float("whitening", 0.0, 1.0)
    trial.suggest_float("label_uncertainty", 1e-3, 0.3, log=True)


def pixel_pipeline(recipe: KnnRecipe, seed: int) -> Pipeline:
    """Build the tutorials' pipeline: raw pixels and unweighted votes."""
    return make_pipeline(Pixels(), KNeighborsClassifier(recipe.n_neighbors, algorithm="brute"))


def pixel_search_space(trial: "BaseTrial") -> None:
    """Suggest the only hyperparameter of the pixel variant."""
    trial.suggest_int("n_neighbors", 1, 15)


SPEC = classical_spec(pipeline, KnnRecipe(), search_space, seconds=16)
VARIANTS = {"pixels": classical_spec(pixel_pipeline, KnnRecipe(n_neighbors=3), pixel_search_space, seconds=30)}
