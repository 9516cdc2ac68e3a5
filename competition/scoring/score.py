"""A score with its standard error."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """A figure of rows, mostly their mean, and how far it would move on other rows of the same kind."""

    value: float
    standard_error: float

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> "Score":
        """The mean of a value for each row."""
        return cls(float(rows.mean()), float(rows.std() / np.sqrt(len(rows))))


def format_percent(score: Score | None) -> str:
    """An accuracy with its standard error."""
    return f"{100 * score.value:.3f} ± {100 * score.standard_error:.3f} %" if score else ""


def format_score(score: Score) -> str:
    """A score with its standard error."""
    return f"{score.value:.4f} ± {score.standard_error:.4f}"
