"""svm: an RBF support vector machine on the oriented gradients of deskewed images."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from competition.classical import classical
from competition.features import Deskew, Hog


@dataclass(frozen=True)
class Machine:
    """How hard the margin is, in which space."""

    c: float = 5.0
    components: int = 120
    steepness: float = 3.0  # of the logistic curve from a pair's decision value to its probability


class PairwiseSVC(ClassifierMixin, BaseEstimator):
    """A support vector machine whose decisions between pairs of classes become probabilities without a second fit.

    Each decision value goes through a logistic curve, and the logarithms of the chances in a class's favour are added
    up. The ensemble's temperature does the rest.
    """

    def __init__(self, c: float, steepness: float) -> None:
        self.c = c
        self.steepness = steepness

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit one machine for each pair of classes."""
        self.machine_ = SVC(C=self.c, decision_function_shape="ovo", cache_size=500).fit(features, labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        values = self.machine_.decision_function(features)
        k = len(self.classes_)
        if k == 2:
            chance = expit(self.steepness * values)
            return np.column_stack([1 - chance, chance])
        favour = np.zeros((len(features), k))
        first, second = np.triu_indices(k, 1)
        for column, (i, j) in enumerate(zip(first, second, strict=True)):
            favour[:, i] -= np.logaddexp(0, -self.steepness * values[:, column])
            favour[:, j] -= np.logaddexp(0, self.steepness * values[:, column])
        return softmax(favour, axis=1)


def pipeline(recipe: Machine, seed: int) -> Pipeline:
    """From images to probabilities."""
    return make_pipeline(
        Deskew(), Hog(), PCA(recipe.components, svd_solver="covariance_eigh"), PairwiseSVC(recipe.c, recipe.steepness)
    )


SPEC = classical(pipeline, Machine(), seconds=26)
