"""Logistic regression that chooses its regularization."""

from typing import Any, Self

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.fixes import parse_version

MAX_ITER = 1_000
# Since scikit-learn 1.8 the defaults of these are deprecated; before, there were none.
IS_OLD = parse_version(sklearn.__version__) < parse_version("1.8")
NEW_OPTIONS: dict[str, Any] = {} if IS_OLD else {"l1_ratios": (0,), "use_legacy_attributes": False}


class CrossValidatedLogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression whose C has the lowest log loss in a cross-validation within the training rows."""

    def __init__(self, max_folds: int, min_c: float, max_c: float, seed: int) -> None:
        self.max_folds = max_folds
        self.min_c = min_c
        self.max_c = max_c
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Choose C, then fit all rows; C is 1 if a class has a single row."""
        self.classes_, counts = np.unique(labels, return_counts=True)
        folds = min(self.max_folds, counts.min())
        if folds < 2:
            regression = LogisticRegression(max_iter=MAX_ITER)
        else:
            steps = round(np.log10(self.max_c / self.min_c))
            regression = LogisticRegressionCV(
                Cs=np.geomspace(self.min_c, self.max_c, steps + 1),
                cv=StratifiedKFold(folds, shuffle=True, random_state=self.seed),
                scoring="neg_log_loss",
                max_iter=MAX_ITER,
                **NEW_OPTIONS,
            )
        self.regression_ = regression.fit(features.astype(float), labels)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return self.regression_.predict_proba(features.astype(float))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most probable class."""
        return self.regression_.predict(features.astype(float))
