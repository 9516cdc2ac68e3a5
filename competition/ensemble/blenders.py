"""Blenders: functions that fit a combination of members to their out-of-fold predictions.

Their arguments are the stacked predictions (members, rows, outputs) and the rows' labels. Several labels per image are
blended as binary classification of each label, by the same combination for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import log_softmax, softmax

from competition.data.targets import TargetKind, target_kind
from competition.errors import UserError
from competition.scoring.multilabel import from_binary, to_binary
from competition.scoring.temperature import EPSILON, apply_temperature, fit_temperature

MAX_PICKS = 30
MIN_WEIGHT = 1e-4  # members with less have none, and need not predict
MIN_GAIN = 1e-5  # in log loss, of another pick in hill climbing
MAX_EXPONENT = 20.0  # of a member in the log-linear blend
MAX_ITERATIONS = 100  # of its fit
N_BAGS = 6  # random halves of the rows, in hill climbing
INITIAL_PICKS = 2  # best members, with which hill climbing starts


class Combination(Protocol):
    """A fitted combination of members."""

    @property
    def weights(self) -> np.ndarray:
        """Weight of each member; they sum to 1."""

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """Combine predictions (members, rows, outputs) to (rows, outputs)."""


Blender = Callable[..., Combination]  # (stack, labels), and the members' temperatures for those in TEMPERED_BLENDERS


@dataclass(frozen=True)
class WeightedMean:
    """A weighted mean of the members' temperature-scaled probabilities, or of their numbers."""

    weights: np.ndarray
    temperatures: np.ndarray

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """Combine probabilities (members, rows, classes) to (rows, classes)."""
        blend = np.zeros(stack.shape[1:])
        for weight, temperature, member in zip(self.weights, self.temperatures, stack, strict=True):
            if weight:
                blend += weight * (member if temperature == 1 else apply_temperature(member, temperature))
        return blend


@dataclass(frozen=True)
class LogLinear:
    """The normalized product of the members' probabilities, each raised to its exponent.

    It is a weighted geometric mean at a temperature of one divided by the sum of the exponents.
    """

    exponents: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The exponents, scaled to a sum of 1."""
        return self.exponents / self.exponents.sum()

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """Combine probabilities (members, rows, classes) to (rows, classes)."""
        logits = np.zeros(stack.shape[1:])
        for exponent, member in zip(self.exponents, stack, strict=True):
            if exponent:
                logits += exponent * _log_probabilities(member)
        return softmax(logits, axis=1)


@dataclass(frozen=True)
class PerLabel:
    """A combination of binary probabilities, applied to each of several labels."""

    binary: Combination

    @property
    def weights(self) -> np.ndarray:
        """Weight of each member."""
        return self.binary.weights

    def combine(self, stack: np.ndarray) -> np.ndarray:
        """Combine probabilities (members, rows, labels) to (rows, labels)."""
        return from_binary(self.binary.combine(to_binary(stack)), stack.shape[2])


def fit_temperatures(stack: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The temperature of each member that minimizes its log loss."""
    if target_kind(labels) == "labels":
        return fit_temperatures(to_binary(stack), labels.ravel())
    return np.array([fit_temperature(member, labels) for member in stack])


def fit_mean(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Mean with equal weights, without temperature scaling."""
    return WeightedMean(_equal_weights(stack), np.ones(len(stack)))


def fit_tempered_mean(stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray | None = None) -> Combination:
    """Mean with equal weights, each member at its best temperature."""
    return WeightedMean(
        _equal_weights(stack), fit_temperatures(stack, labels) if temperatures is None else temperatures
    )


def fit_convex(stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray | None = None) -> Combination:
    """Mean with the weights that minimize log loss, each member at its best temperature.

    The weights are fitted by expectation-maximization, as of a mixture whose components are the members.
    """
    temperatures = fit_temperatures(stack, labels) if temperatures is None else temperatures
    probabilities = _label_probabilities(stack, labels, temperatures)
    weights = _equal_weights(stack).astype(probabilities.dtype)
    loss = np.inf
    while True:
        blended = weights @ probabilities
        previous_loss, loss = loss, float(-np.log(blended).mean())
        if previous_loss - loss < MIN_GAIN / 10:
            weights = np.where(weights < MIN_WEIGHT, 0.0, weights)
            return WeightedMean(weights / weights.sum(), temperatures)
        weights = weights * (probabilities @ (1 / blended))
        weights /= weights.sum()


def fit_hill_climbing(stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray | None = None) -> Combination:
    """Mean with weights from greedy selection with replacement: the member that reduces log loss most, until none does.

    Temperatures are fitted first, since members trained with label smoothing would be ranked too low. The weights are
    averaged over random halves of the rows, so that no single pick decides.
    """
    temperatures = fit_temperatures(stack, labels) if temperatures is None else temperatures
    probabilities = _label_probabilities(stack, labels, temperatures)
    rng = np.random.default_rng(0)
    halves = (rng.permutation(len(labels))[: (len(labels) + 1) // 2] for _ in range(N_BAGS))
    return WeightedMean(np.mean([_hill_climb(probabilities[:, half]) for half in halves], axis=0), temperatures)


def fit_log_linear(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Product of powers of the probabilities, with the non-negative exponents that minimize log loss.

    They account for temperatures as well as for weights. Log loss is convex in them.
    """
    logits, rows = _log_probabilities(stack), np.arange(len(labels))

    def loss_and_gradient(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        log_blend = log_softmax(np.einsum("m,mrc->rc", exponents.astype(np.float32), logits), axis=1)
        errors = np.exp(log_blend)
        errors[rows, labels] -= 1
        gradient = np.einsum("rc,mrc->m", errors, logits).astype(np.float64) / len(labels)
        return -float(log_blend[rows, labels].mean(dtype=np.float64)), gradient

    fit = minimize(
        loss_and_gradient,
        _equal_weights(stack),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, MAX_EXPONENT)] * len(stack),
        options={"maxiter": MAX_ITERATIONS, "ftol": MIN_GAIN / 10},
    )
    exponents = np.where(fit.x < MIN_WEIGHT * max(fit.x.sum(), 1), 0.0, fit.x)
    return LogLinear(exponents if exponents.any() else np.full(len(stack), MIN_WEIGHT))  # all are worse than a guess


def fit_least_squares(stack: np.ndarray, labels: np.ndarray) -> Combination:
    """Mean of numbers with the non-negative weights of sum 1 that minimize squared error."""
    errors = stack[:, :, 0].T - labels[:, None].astype(float)
    scale = np.linalg.norm(errors) or 1.0
    # However strongly their sum is drawn towards 1, the weights have the same proportions.
    weights, _ = nnls(np.vstack([errors, np.full(len(stack), scale)]), np.append(np.zeros(len(errors)), scale))
    return WeightedMean(weights / weights.sum(), np.ones(len(stack)))


BLENDERS: dict[str, Blender] = {
    "mean": fit_mean,
    "tempered": fit_tempered_mean,
    "convex": fit_convex,
    "hill-climbing": fit_hill_climbing,
    "log-linear": fit_log_linear,
}
TEMPERED_BLENDERS = ("tempered", "convex", "hill-climbing")  # of classes and labels
NUMBER_BLENDERS: dict[str, Blender] = {"mean": fit_mean, "convex": fit_least_squares}


def find_blender(name: str, kind: TargetKind) -> Blender:
    """The blender of this name; raises UserError if there is none for this kind of target."""
    blenders = NUMBER_BLENDERS if kind == "number" else BLENDERS
    if name not in blenders:
        problem = f"blender {name} does not apply to numbers" if name in BLENDERS else f"unknown blender {name!r}"
        raise UserError(f"{problem}; choose from {', '.join(('auto', *blenders))}")
    return blenders[name]


def blender_names(kind: TargetKind) -> tuple[str, ...]:
    """The blenders for this kind of target, the mean first."""
    return tuple(NUMBER_BLENDERS if kind == "number" else BLENDERS)


def weighted_blender(kind: TargetKind) -> str:
    """The blender whose weights say how much each member contributes."""
    return "convex" if kind == "number" else "log-linear"


def fit_blender(
    name: str, stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray | None = None
) -> Combination:
    """Fit the blender of this name; those in TEMPERED_BLENDERS fit the members' temperatures unless these are given."""
    kind = target_kind(labels)
    blender = find_blender(name, kind)
    if temperatures is not None:
        blender = partial(blender, temperatures=temperatures)
    return PerLabel(blender(to_binary(stack), labels.ravel())) if kind == "labels" else blender(stack, labels)


def _hill_climb(probabilities: np.ndarray) -> np.ndarray:
    """Weights by greedy selection, from the probabilities (members, rows) of the labels."""
    order = np.argsort(-np.log(probabilities).mean(axis=1))
    picks = list(order[:1])
    for candidate in order[1:INITIAL_PICKS]:
        if _mean_log_loss(probabilities, [*picks, candidate]) < _mean_log_loss(probabilities, picks):
            picks.append(candidate)
    total, loss = probabilities[picks].sum(axis=0), _mean_log_loss(probabilities, picks)
    while len(picks) < MAX_PICKS:
        losses = -np.log((total + probabilities) / (len(picks) + 1)).mean(axis=1)
        best = int(losses.argmin())
        if losses[best] > loss - MIN_GAIN:
            break
        picks.append(best)
        total, loss = total + probabilities[best], losses[best]
    return np.bincount(picks, minlength=len(probabilities)) / len(picks)


def _mean_log_loss(probabilities: np.ndarray, picks: list[int]) -> float:
    return float(-np.log(probabilities[picks].mean(axis=0)).mean())


def _label_probabilities(stack: np.ndarray, labels: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probability (members, rows) that each member gives each label; log loss depends on nothing else."""
    rows = np.arange(len(labels))
    pairs = zip(stack, temperatures, strict=True)
    probabilities = np.stack([apply_temperature(member, temperature)[rows, labels] for member, temperature in pairs])
    return np.maximum(probabilities, EPSILON).astype(np.float32)


def _log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, EPSILON)).astype(np.float32)


def _equal_weights(stack: np.ndarray) -> np.ndarray:
    return np.full(len(stack), 1 / len(stack))
