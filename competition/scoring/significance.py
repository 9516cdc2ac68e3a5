"""Significance of differences between two predictors, and correlation of their errors."""

from dataclasses import dataclass

import numpy as np

from competition.scoring.losses import is_correct
from competition.scoring.temperature import EPSILON


@dataclass(frozen=True)
class McNemarResult:
    """Rows on which exactly one of two predictors is correct, and the p-value of their difference."""

    corrected: int  # by the second predictor
    newly_wrong: int
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the accuracies differ at the 5 % level."""
        return self.p_value < 0.05


def mcnemar_test(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemarResult:
    """Compare the accuracies of two predictors' probabilities by the exact McNemar test."""
    from scipy.stats import binomtest

    before, after = is_correct(labels, first), is_correct(labels, second)
    corrected, newly_wrong = int((after > before).sum()), int((after < before).sum())
    p_value = float(binomtest(corrected, corrected + newly_wrong).pvalue) if corrected + newly_wrong else 1.0
    return McNemarResult(corrected, newly_wrong, p_value)


def error_correlation(errors: np.ndarray) -> np.ndarray:
    """Correlation matrix of the errors (predictors, rows)."""
    deviation = errors.std(axis=1)
    centred = errors - errors.mean(axis=1, keepdims=True)
    # np.corrcoef would return NaN for a predictor without errors.
    return centred @ centred.T / errors.shape[1] / np.maximum(np.outer(deviation, deviation), EPSILON)
