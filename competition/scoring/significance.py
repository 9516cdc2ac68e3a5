"""Whether two predictors differ by more than chance."""

from dataclasses import dataclass

import numpy as np

from competition.scoring.metrics import is_correct
from competition.scoring.temperature import EPSILON


@dataclass(frozen=True)
class Comparison:
    """Two predictors on the same rows: what the second mends and spoils, and how likely chance does as much."""

    corrected: int
    newly_wrong: int
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is beyond noise."""
        return self.p_value < 0.05


def mcnemar_test(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Comparison:
    """Exact McNemar test: of the rows on which just one is right, is the share a fair coin's?"""
    from scipy.stats import binomtest

    before, after = is_correct(labels, first), is_correct(labels, second)
    corrected, newly_wrong = int((after > before).sum()), int((after < before).sum())
    p_value = float(binomtest(corrected, corrected + newly_wrong).pvalue) if corrected + newly_wrong else 1.0
    return Comparison(corrected, newly_wrong, p_value)


def error_correlation(right: np.ndarray) -> np.ndarray:
    """How far predictors err on the same rows, pair by pair, from their hits (predictors, rows); 1 with oneself."""
    wrong = 1 - right
    spread = wrong.std(axis=1)
    centred = wrong - wrong.mean(axis=1, keepdims=True)
    return centred @ centred.T / wrong.shape[1] / np.maximum(np.outer(spread, spread), EPSILON)
