"""A score with its standard error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RELATIVE_STEP = 1e-5  # of numerical derivatives


@dataclass(frozen=True)
class Score:
    """A score and the standard error of estimating it from this sample of rows."""

    value: float
    standard_error: float

    @classmethod
    def from_rows(cls, rows: np.ndarray, groups: np.ndarray | None = None) -> "Score":
        """Mean of the scores of single rows; rows of the same group may be correlated."""
        return cls(float(rows.mean()), _standard_error(rows - rows.mean(), groups))

    @classmethod
    def from_means(
        cls, rows: np.ndarray, function: Callable[[np.ndarray], float], groups: np.ndarray | None = None
    ) -> "Score":
        """A smooth function of the means of (rows, quantities); its standard error by the delta method."""
        means = rows.mean(axis=0, dtype=float)
        gradient = _gradient(function, means)
        return cls(function(means), _standard_error(rows @ gradient - means @ gradient, groups))


def _standard_error(deviations: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard error of the mean of rows, from their deviations; groups, not rows, are independent."""
    rows = len(deviations)
    if groups is not None:
        deviations = np.bincount(np.unique(groups, return_inverse=True)[1], deviations)
    return float(np.sqrt((deviations**2).sum()) / rows)


def _gradient(function: Callable[[np.ndarray], float], means: np.ndarray) -> np.ndarray:
    """Derivatives by the means; 0 where a mean is 0, since functions of counts may jump there."""
    gradient = np.zeros(len(means))
    for index in np.flatnonzero(means):
        step = np.zeros(len(means))
        step[index] = RELATIVE_STEP * abs(means[index])
        gradient[index] = (function(means + step) - function(means - step)) / (2 * step[index])
    return gradient


def expected_score(score: Score, rows: int, other_rows: float) -> Score:
    """The score expected on other rows, from that on these; both samples of rows contribute to its standard error."""
    return Score(score.value, float(score.standard_error * np.sqrt(1 + rows / other_rows)))


def repeated_groups(groups: np.ndarray) -> np.ndarray | None:
    """The index of each row's group; None if every row has its own."""
    names, index = np.unique(groups, return_inverse=True)
    return index if len(names) < len(groups) else None


def format_percent(score: Score) -> str:
    """Format as a percentage, with standard error."""
    return f"{100 * score.value:.3f} ± {100 * score.standard_error:.3f} %"


def format_score(score: Score) -> str:
    """Format with standard error."""
    return f"{score.value:.4f} ± {score.standard_error:.4f}"
