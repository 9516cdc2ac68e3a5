"""Blend the members' predictions; pixels and models are unknown here.

Everything a blend learns, it learns from out-of-fold rows, and its score is cross-fitted: for each fold it is learned
again on the other folds' rows and scored on this one's, so that no row helped to choose what scores it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from competition.metrics import SMALLEST, Score, accuracy, log_loss
from competition.store import Predictions

Learn = Callable[[np.ndarray, np.ndarray], "Weighting"]  # (stack, labels)

MOST_PICKS = 30
LEAST_GAIN = 1e-5  # of log loss, for another pick to be worth it
HOTTEST = 20.0


@dataclass(frozen=True)
class Weighting:
    """How much each member counts, and the temperature that its probabilities are brought to first."""

    weights: np.ndarray
    temperatures: np.ndarray

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """The blend of (members, rows, classes)."""
        blend = np.zeros(stack.shape[1:])
        for weight, temperature, member in zip(self.weights, self.temperatures, stack, strict=True):
            if weight:
                blend += weight * tempered(member, temperature)
        return blend


@dataclass(frozen=True)
class Blend:
    """A blend of members and what it is worth."""

    members: tuple[str, ...]
    weighting: Weighting
    oof: np.ndarray  # (train rows, classes), cross-fitted
    test: np.ndarray  # (test rows, classes)
    accuracy: Score
    log_loss: Score


def blend(members: Sequence[Predictions], labels: np.ndarray, held_out: np.ndarray, learn: Learn) -> Blend:
    """What `learn` makes of complete members, applied to each fold's test predictions and then averaged."""
    stack = np.stack([member.oof for member in members])
    oof = np.empty(stack.shape[1:])
    for fold in np.unique(held_out):
        inside = held_out == fold
        oof[inside] = learn(stack[:, ~inside], labels[~inside]).combine(stack[:, inside])
    weighting = learn(stack, labels)
    # Fold by fold: a mean over folds is sharper than the out-of-fold rows from which the temperatures were learned.
    by_fold = zip(*(member.test for member in members), strict=True)
    test = np.mean([weighting.combine(np.stack(fold)) for fold in by_fold], axis=0)
    names = tuple(member.member for member in members)
    return Blend(names, weighting, oof, test, accuracy(labels, oof), log_loss(labels, oof))


def mean(stack: np.ndarray, labels: np.ndarray) -> Weighting:
    """Every member counts the same, as it is."""
    return Weighting(np.full(len(stack), 1 / len(stack)), np.ones(len(stack)))


def greedy(stack: np.ndarray, labels: np.ndarray) -> Weighting:
    """Pick members with replacement, each time the one that lowers the log loss most, until none does.

    Each member is first brought to its best temperature; label smoothing would otherwise misrank networks.
    """
    temperatures = np.array([temperature(member, labels) for member in stack])
    # Only the probability of each row's label enters the log loss.
    rows = np.arange(len(labels))
    right = np.stack([tempered(m, t)[rows, labels] for m, t in zip(stack, temperatures, strict=True)])
    picks: Counter[int] = Counter()
    total, loss = np.zeros(len(labels)), np.inf
    for count in range(1, MOST_PICKS + 1):
        losses = [-np.log(np.maximum((total + one) / count, SMALLEST)).mean() for one in right]
        best = int(np.argmin(losses))
        if losses[best] > loss - LEAST_GAIN:
            break
        picks[best] += 1
        total, loss = total + right[best], losses[best]
    weights = np.array([picks[member] for member in range(len(stack))]) / picks.total()
    return Weighting(weights, temperatures)


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the probabilities' log loss is least: above 1 they were too sure of themselves."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logs = np.log(np.maximum(probabilities, SMALLEST)).astype(np.float32)
    right = logs[np.arange(len(labels)), labels].mean(dtype=np.float64)

    def loss(log_temperature: float) -> float:
        sharpness = np.float32(np.exp(-log_temperature))
        return float(logsumexp(logs * sharpness, axis=1).mean(dtype=np.float64) - right * sharpness)

    limit = np.log(HOTTEST)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-3}).x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities at another temperature, summing to 1 again."""
    powers = np.maximum(probabilities, SMALLEST).astype(np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)
