"""A score with its standard error."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A score and the standard error of estimating it from this sample of rows."""

    value: float
    standard_error: float

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> "Score":
        """Mean of the scores of single rows."""
        return cls(float(rows.mean()), float(rows.std() / np.sqrt(len(rows))))


def format_percent(score: Score) -> str:
    """Format as a percentage, with standard error."""
    return f"{100 * score.value:.3f} ± {100 * score.standard_error:.3f} %"


def format_score(score: Score) -> str:
    """Format with standard error."""
    return f"{score.value:.4f} ± {score.standard_error:.4f}"
