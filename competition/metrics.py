"""How predictions are scored, and when a difference between two scores is news."""

from dataclasses import dataclass

import numpy as np

SMALLEST = 1e-7  # a probability below this counts as this
DOUBTFUL = 0.02  # a label of less probability may be wrong itself


@dataclass(frozen=True)
class Score:
    """A mean over rows, and how far it would move on other rows of the same kind."""

    value: float
    standard_error: float

    @classmethod
    def of(cls, rows: np.ndarray) -> "Score":
        """The mean of a value for each row."""
        return cls(float(rows.mean()), float(rows.std() / np.sqrt(len(rows))))


@dataclass(frozen=True)
class Comparison:
    """Two predictors on the same rows: what the second mends and spoils, and how likely chance does as much."""

    fixed: int
    broken: int
    p_value: float

    @property
    def is_news(self) -> bool:
        """Whether the difference is beyond noise."""
        return self.p_value < 0.05


def suspected(labels: np.ndarray, blend: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Whether each row's label may be wrong itself: no member votes for it and the blend gives it next to nothing.

    The votes of unlike models say it in a line; confident learning, as cleanlab has it, asks for one model's well-tuned
    confidence in each class, and brings more packages than the toolkit has.
    """
    given = blend[np.arange(len(labels)), labels]
    return (given < DOUBTFUL) & (votes != labels).all(axis=0)


def hits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose likeliest class is the label, else 0."""
    return (probabilities.argmax(axis=1) == labels).astype(float)


def row_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Minus the log probability that each row gives its label."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST))


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    """The share of rows whose likeliest class is the label."""
    return Score.of(hits(labels, probabilities))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    """The mean of the rows' log loss."""
    return Score.of(row_log_loss(labels, probabilities))


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Comparison:
    """Exact McNemar test: of the rows on which just one is right, is the share a fair coin's?"""
    from scipy.stats import binomtest

    before, after = hits(labels, first), hits(labels, second)
    fixed, broken = int((after > before).sum()), int((after < before).sum())
    p_value = float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0
    return Comparison(fixed, broken, p_value)


def errors_shared(right: np.ndarray) -> np.ndarray:
    """How far predictors err on the same rows, pair by pair, from their hits (predictors, rows); 1 with oneself."""
    wrong = 1 - right
    spread = wrong.std(axis=1)
    centred = wrong - wrong.mean(axis=1, keepdims=True)
    return centred @ centred.T / wrong.shape[1] / np.maximum(np.outer(spread, spread), SMALLEST)


def percent(score: Score | None) -> str:
    """An accuracy with its standard error."""
    return f"{100 * score.value:.3f} ± {100 * score.standard_error:.3f} %" if score else ""


def plain(score: Score) -> str:
    """A score with its standard error."""
    return f"{score.value:.4f} ± {score.standard_error:.4f}"
