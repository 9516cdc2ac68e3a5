"""Ways to blend: each learns from out-of-fold rows how the members' probabilities are to be combined.

A blender is a function of the stack (members, rows, classes) and the rows' labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import softmax

from competition.scoring.temperature import EPSILON, apply_temperature, fit_temperature

MAX_PICKS = 30
MIN_GAIN = 1e-5  # of log loss, for another pick, or another round, to be worth it
N_BAGS = 6  # of rows, in hill climbing
INITIAL_PICKS = 2  # the best members, with which a climb starts
REGULARIZATION = 100.0  # how strongly the stack's regression is held to small coefficients


class Combination(Protocol):
    """What a blender returns."""

    @property
    def weights(self) -> np.ndarray:
        """How much each member counts; they sum to 1."""

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """The blend (rows, classes) of a stack."""


Blender = Callable[[np.ndarray, np.ndarray], Combination]


@dataclass(frozen=True)
class WeightedMean:
    """A weighted mean of probabilities, each member's brought to its temperature first."""

    weights: np.ndarray
    temperatures: np.ndarray

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """The blend of a stack."""
        blend = np.zeros(stack.shape[1:])
        for weight, heat, member in zip(self.weights, self.temperatures, stack, strict=True):
            if weight:
                blend += weight * (member if heat == 1 else apply_temperature(member, heat))
        return blend


@dataclass(frozen=True)
class GeometricMean:
    """A weighted geometric mean of probabilities: who says never is heard."""

    weights: np.ndarray

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """The blend of a stack."""
        return softmax(np.einsum("m,mrc->rc", self.weights, _log_probabilities(stack)), axis=1)


@dataclass(frozen=True)
class StackedRegression:
    """A linear map from all members' log probabilities to logits."""

    weights: np.ndarray
    coefficients: np.ndarray  # (members, classes, classes)
    intercepts: np.ndarray

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """The blend of a stack."""
        return softmax(np.einsum("mrc,mcd->rd", _log_probabilities(stack), self.coefficients) + self.intercepts, axis=1)


def fit_mean(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Every member counts the same, as it is."""
    return WeightedMean(_equal_weights(stack), np.ones(len(stack)))


def fit_geometric_mean(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """The geometric mean, every member counting the same."""
    return GeometricMean(_equal_weights(stack))


def fit_tempered_mean(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Every member counts the same, each at its best temperature."""
    return WeightedMean(_equal_weights(stack), _fit_temperatures(stack, labels))


def fit_convex(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """The weights of least log loss, each member at its best temperature.

    A row's label is taken as drawn from one of the members, and each member's weight as the share of rows that it drew:
    the classical iteration for mixtures, which never raises the loss.
    """
    temperatures = _fit_temperatures(stack, labels)
    right = _label_probabilities(stack, labels, temperatures)
    weights = _equal_weights(stack).astype(right.dtype)
    loss = np.inf
    while True:
        mixed = weights @ right
        before, loss = loss, float(-np.log(mixed).mean())
        if before - loss < MIN_GAIN / 10:
            return WeightedMean(weights, temperatures)
        weights = weights * (right @ (1 / mixed))
        weights /= weights.sum()


def fit_hill_climbing(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Pick members with replacement, each time the one that lowers the log loss most, until none does.

    Each member is first brought to its best temperature; label smoothing would otherwise misrank networks. The climb
    starts from the best members, on a random half of the rows; the mean of several does not hang on one lucky pick.
    """
    temperatures = _fit_temperatures(stack, labels)
    right = _label_probabilities(stack, labels, temperatures)
    random = np.random.default_rng(0)
    halves = (random.permutation(len(labels))[: (len(labels) + 1) // 2] for _ in range(N_BAGS))
    return WeightedMean(np.mean([_hill_climb(right[:, half]) for half in halves], axis=0), temperatures)


def fit_stacking(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """A multinomial logistic regression from all members' log probabilities."""
    from sklearn.linear_model import LogisticRegression

    members, rows, classes = stack.shape
    features = _log_probabilities(stack).transpose(1, 0, 2).reshape(rows, -1)
    known = np.unique(labels)
    regression = LogisticRegression(C=1 / REGULARIZATION, max_iter=200, tol=0.01).fit(features, labels)
    slopes, offsets = regression.coef_, regression.intercept_
    if len(known) == 2:  # scikit-learn tells only how far the second is before the first
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    coefficients = np.zeros((members, classes, classes), dtype=features.dtype)
    coefficients[:, :, known] = slopes.T.reshape(members, classes, len(known))
    intercepts = np.full(classes, np.log(EPSILON))
    intercepts[known] = offsets
    size = np.abs(coefficients).sum(axis=(1, 2))
    return StackedRegression(size / size.sum(), coefficients, intercepts)


BLENDERS: dict[str, Blender] = {
    "mean": fit_mean,
    "geometric": fit_geometric_mean,
    "tempered": fit_tempered_mean,
    "convex": fit_convex,
    "hill-climbing": fit_hill_climbing,
    "stacked": fit_stacking,
}


def _hill_climb(right: np.ndarray) -> np.ndarray:
    """Weights of members picked one after the other, by the probabilities that they give the labels."""
    order = np.argsort(-np.log(right).mean(axis=1))
    picks = list(order[:1])
    for first in order[1:INITIAL_PICKS]:
        if _mean_log_loss(right, [*picks, first]) < _mean_log_loss(right, picks):
            picks.append(first)
    total, loss = right[picks].sum(axis=0), _mean_log_loss(right, picks)
    while len(picks) < MAX_PICKS:
        losses = -np.log((total + right) / (len(picks) + 1)).mean(axis=1)
        best = int(losses.argmin())
        if losses[best] > loss - MIN_GAIN:
            break
        picks.append(best)
        total, loss = total + right[best], losses[best]
    return np.bincount(picks, minlength=len(right)) / len(picks)


def _mean_log_loss(right: np.ndarray, picks: list[int]) -> float:
    return float(-np.log(right[picks].mean(axis=0)).mean())


def _label_probabilities(stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """What each member gives each row's label: all that a mixture's log loss asks for."""
    rows = np.arange(len(labels))
    pairs = zip(stack, temperatures, strict=True)
    right = np.stack([apply_temperature(member, heat)[rows, labels] for member, heat in pairs])
    return np.maximum(right, EPSILON).astype(np.float32)


def _fit_temperatures(stack: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([fit_temperature(member, labels) for member in stack])


def _log_probabilities(stack: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(stack, EPSILON)).astype(np.float32)


def _equal_weights(stack: np.ndarray) -> np.ndarray:
    return np.full(len(stack), 1 / len(stack))
