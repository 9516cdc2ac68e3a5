"""k-nearest neighbours with votes by distance."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors


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
