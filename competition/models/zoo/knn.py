"""knn: the nearest neighbours among deskewed images, by their oriented gradients."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.features import Deskew, Hog, Pixels, Projection, WithinClass
from competition.models.classical.spec import calibrated, classical

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Neighbourhood:
    """How far to look, in which space."""

    neighbours: int = 5
    components: int = 120
    whitening: float = 0.25  # how far towards equal variance within the classes
    doubt: float = 0.05  # a share of the vote that is spread over all classes: no neighbour proves a class impossible


class Vote(ClassifierMixin, BaseEstimator):
    """Nearest neighbours that vote with the inverse square of their distance."""

    def __init__(self, neighbours: int, doubt: float) -> None:
        self.neighbours = neighbours
        self.doubt = doubt

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Remember the rows; in so many dimensions brute force, by blocks of a matrix product, is fastest."""
        self.classes_, self.labels_ = np.unique(labels, return_inverse=True)
        self.index_ = NearestNeighbors(n_neighbors=min(self.neighbours, len(labels)), algorithm="brute").fit(features)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Each class's share of the votes."""
        distance, neighbour = self.index_.kneighbors(features)
        weight = 1 / (distance**2 + 1e-9)
        votes = np.zeros((len(features), len(self.classes_)))
        for column in range(neighbour.shape[1]):
            votes[np.arange(len(votes)), self.labels_[neighbour[:, column]]] += weight[:, column]
        return (1 - self.doubt) * votes / votes.sum(axis=1, keepdims=True) + self.doubt / len(self.classes_)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The class with the most votes; scikit-learn's calibration asks that there be a way to predict one."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


def pipeline(recipe: Neighbourhood, seed: int) -> Pipeline:
    """From images to votes."""
    space = Projection(recipe.components, seed)
    vote = make_pipeline(WithinClass(recipe.whitening), Vote(recipe.neighbours, recipe.doubt))
    return make_pipeline(Deskew(), Hog(), space, calibrated(vote))


def search(trial: "BaseTrial") -> None:
    """All of the neighbourhood."""
    trial.suggest_int("neighbours", 1, 15)
    trial.suggest_int("components", 40, 240)
    trial.suggest_float("whitening", 0.0, 1.0)
    trial.suggest_float("doubt", 1e-3, 0.3, log=True)


def among_pixels(recipe: Neighbourhood, seed: int) -> Pipeline:
    """As tutorials have it: no features, one vote for each neighbour."""
    return make_pipeline(Pixels(), KNeighborsClassifier(recipe.neighbours, algorithm="brute"))


def search_among_pixels(trial: "BaseTrial") -> None:
    """There is nothing else."""
    trial.suggest_int("neighbours", 1, 15)


SPEC = classical(pipeline, Neighbourhood(), search, seconds=18)
VARIANTS = {"pixels": classical(among_pixels, Neighbourhood(neighbours=3), search_among_pixels, seconds=30)}
