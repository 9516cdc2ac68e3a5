"""Temperature scaling of scikit-learn classifiers, for scikit-learn before 1.8, which has none."""

from typing import Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import cross_val_predict

EPSILON = 1e-12  # added to probabilities before their logarithm
FOLDS = 3


class TemperatureScaling(ClassifierMixin, BaseEstimator):
    """A classifier fitted on all rows, whose logits are divided by a temperature fitted by cross-validation."""

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the temperature on out-of-fold rows, then the classifier on all rows."""
        method = _response_method(self.estimator)
        logits = _as_logits(cross_val_predict(self.estimator, features, labels, cv=FOLDS, method=method), method)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        rows = np.arange(len(labels))

        def log_loss(log_inverse: float) -> float:
            return -log_softmax(np.exp(log_inverse) * logits, axis=1)[rows, indices].mean()

        self.inverse_temperature_ = float(np.exp(minimize_scalar(log_loss, bounds=(-10, 10), method="bounded").x))
        self.estimator_ = clone(self.estimator).fit(features, labels)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        method = _response_method(self.estimator_)
        return softmax(
            self.inverse_temperature_ * _as_logits(getattr(self.estimator_, method)(features), method), axis=1
        )

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most probable class."""
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


def _response_method(estimator: BaseEstimator) -> str:
    return "decision_function" if hasattr(estimator, "decision_function") else "predict_proba"


def _as_logits(response: np.ndarray, method: str) -> np.ndarray:
    """Logits (rows, classes); with two classes, a decision function has one value for each row."""
    if method == "predict_proba":
        return np.log(response + EPSILON)
    return np.stack([-response, response], axis=1) if response.ndim == 1 else response
