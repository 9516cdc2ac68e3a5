"""scikit-learn transformers of the features of a pretrained network (rows, views, dimensions)."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

MAX_ROWS = 4_000  # that decide whether mirrored images are used
ALPHA = 1_000.0  # regularization of the regression that decides


class MeanOfViews(TransformerMixin, BaseEstimator):
    """The signed square root of the features' mean over views: as they are or, where it helps, also mirrored.

    Whether mirror images preserve the label is decided by a ridge regression within the training rows, unless
    `mirrored` says so.
    """

    def __init__(self, mirrored: bool | None = None, seed: int = 0) -> None:
        self.mirrored = mirrored
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Decide which views to use."""
        mirrored = self._is_better_mirrored(features, labels) if self.mirrored is None else self.mirrored
        self.views_ = 2 if mirrored else 1
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Features (rows, dimensions) in float32; the square root makes their distribution less skewed."""
        return _mean_of_views(features, self.views_)

    def _is_better_mirrored(self, features: np.ndarray, labels: np.ndarray) -> bool:
        """Whether the mean over views predicts one half of the rows better from the other than the plain view."""
        rows = np.random.default_rng(self.seed).permutation(len(labels))[:MAX_ROWS]
        targets = _as_numbers(labels)[rows]
        half = np.arange(len(rows)) % 2 == 0
        return _squared_error(_mean_of_views(features[rows], 2), targets, half) <= _squared_error(
            _mean_of_views(features[rows], 1), targets, half
        )


def _mean_of_views(features: np.ndarray, views: int) -> np.ndarray:
    mean = features[:, :views].mean(axis=1, dtype=np.float32)
    return np.sign(mean) * np.sqrt(np.abs(mean))


def _as_numbers(labels: np.ndarray) -> np.ndarray:
    """Targets (rows, numbers): one column per class, label or number."""
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
        return (labels[:, None] == np.unique(labels)).astype(np.float32)
    return labels.reshape(len(labels), -1).astype(np.float32)


def _squared_error(features: np.ndarray, targets: np.ndarray, half: np.ndarray) -> float:
    """The sum of squared errors of a ridge regression, each half predicted from the other."""
    if len(features) < 2:
        return 0.0
    total = 0.0
    for train in (half, ~half):
        scaler = StandardScaler().fit(features[train])
        ridge = Ridge(ALPHA).fit(scaler.transform(features[train]), targets[train])
        predicted = ridge.predict(scaler.transform(features[~train])).reshape(targets[~train].shape)
        total += float(((predicted - targets[~train]) ** 2).sum())
    return total
