"""knn: k-nearest neighbours on the histograms of oriented gradients of deskewed images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.features import Deskew, Hog, Pixels, RandomizedPCA, WithinClassWhitening
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


class DistanceWeightedVote(ClassifierMixin, BaseEstimator):
    """k-nearest neighbours weighted by the inverse square of their distance."""

    def __init__(self, n_neighbors: int, label_uncertainty: float) -> None:
        self.n_neighbors = n_neighbors
        self.label_uncertainty = label_uncertainty

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Store the training rows; in this many dimensions, brute force by matrix products is fastest."""
        self.classes_, self.labels_ = np.unique(labels, return_inverse=True)
        self.index_ = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(labels)), algorithm="brute").fit(features)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Each class's share of the votes (rows, classes)."""
        distances, neighbors = self.index_.kneighbors(features)
        weights = 1 / (distances**2 + 1e-9)
        votes = np.zeros((len(features), len(self.classes_)))
        for column in range(neighbors.shape[1]):
            votes[np.arange(len(votes)), self.labels_[neighbors[:, column]]] += weights[:, column]
        shares = (1 - self.label_uncertainty) * votes / votes.sum(axis=1, keepdims=True)
        return shares + self.label_uncertainty / len(self.classes_)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The class with the most votes; scikit-learn's calibration requires this method."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


def pipeline(recipe: KnnRecipe, seed: int) -> Pipeline:
    """Build the pipeline from images to probabilities."""
    classifier = make_pipeline(
        WithinClassWhitening(recipe.whitening), DistanceWeightedVote(recipe.n_neighbors, recipe.label_uncertainty)
    )
    return make_pipeline(Deskew(), Hog(), RandomizedPCA(recipe.n_components, seed), calibrate(classifier))


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


SPEC = classical_spec(pipeline, KnnRecipe(), search_space, seconds=15)
VARIANTS = {"pixels": classical_spec(pixel_pipeline, KnnRecipe(n_neighbors=3), pixel_search_space, seconds=30)}
