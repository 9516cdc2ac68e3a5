"""Decide on labels so that the expected metric is highest.

The most probable class is best for accuracy, but not for QWK, F1 or recall: these reward predicting rare classes more
often. Given calibrated probabilities, the expected metric of any decisions can be computed without labels, and
maximized. Labels are needed only to calibrate the probabilities, so there are no thresholds to overfit.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from competition.data.targets import target_kind
from competition.scoring.calibration import Calibration, fit_calibration
from competition.scoring.metrics import ConfusionMetric, Metric
from competition.scoring.multilabel import has_empty_sets
from competition.scoring.standard_error import gradient
from competition.scoring.temperature import EPSILON

STARTS = 0.0, 0.5, 1.0  # powers of the classes' frequencies, by which probabilities are divided first
MAX_STEPS = 20  # of gradient ascent from each start
F1_METRICS = "micro F1", "macro F1", "sample F1"  # of several labels


class Decision(Protocol):
    """How labels follow from probabilities."""

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """1 for the class or the labels that are decided on and 0 for others, (rows, outputs)."""


@dataclass(frozen=True)
class ClassDecision:
    """Decide on the class with the highest expected gain."""

    calibration: Calibration
    gains: np.ndarray  # (classes, classes): of predicting the second where the first is true

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """1 for the class that is decided on, 0 for others."""
        return _most_probable(self.calibration.apply(probabilities) @ self.gains)


@dataclass(frozen=True)
class LabelDecision:
    """Decide on the labels whose probability reaches half of the highest expected F1, which maximizes F1.

    The mean over images has a threshold for each image.
    """

    calibration: Calibration
    allow_empty: bool  # whether a row may have no label; if not, the most probable one is predicted
    thresholds: np.ndarray | None = None  # of the labels; None: one for each row

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """1 for the labels that are decided on, 0 for others."""
        calibrated = self.calibration.apply(probabilities)
        thresholds = best_f1(calibrated.T)[:, None] / 2 if self.thresholds is None else self.thresholds
        selected = calibrated >= thresholds
        if self.thresholds is None and self.allow_empty:  # an empty set has an F1 of 1 if no label is true
            selected[np.exp(np.log1p(-calibrated).sum(axis=1)) > 2 * thresholds[:, 0]] = False
        if not self.allow_empty:
            selected[~selected.any(axis=1)] |= _most_probable(calibrated[~selected.any(axis=1)]) == 1
        return selected.astype(np.float32)


def fit_decision(metric: Metric, probabilities: np.ndarray, labels: np.ndarray) -> Decision | None:
    """Fit the decision on the probabilities of rows; None if the most probable class or labels are best.

    The labels of these rows are used to calibrate the probabilities.
    """
    if not is_optimized(metric, labels):
        return None
    calibration = fit_calibration(probabilities, labels)
    calibrated = calibration.apply(probabilities)
    if isinstance(metric, ConfusionMetric) and target_kind(labels) == "class":
        return ClassDecision(calibration, _best_gains(metric, calibrated))
    thresholds = {
        "micro F1": np.repeat(best_f1(calibrated.reshape(-1, 1)) / 2, calibrated.shape[1]),
        "macro F1": best_f1(calibrated) / 2,
    }
    return LabelDecision(calibration, has_empty_sets(labels), thresholds.get(metric.name))


def is_optimized(metric: Metric, labels: np.ndarray) -> bool:
    """Whether another label than the most probable one may have a higher expected score."""
    match target_kind(labels):
        case "class":
            return isinstance(metric, ConfusionMetric) and metric.name != "micro F1"  # which is the accuracy
        case "labels":
            return metric.name in F1_METRICS
        case "number":
            return False


def best_f1(probabilities: np.ndarray) -> np.ndarray:
    """The highest F1 of the expected counts in each column (rows, columns), if the most probable rows are predicted."""
    descending = -np.sort(-probabilities, axis=0)
    predicted = np.arange(1, len(probabilities) + 1)[:, None]
    return (2 * descending.cumsum(axis=0) / (predicted + probabilities.sum(axis=0))).max(axis=0)


def _best_gains(metric: ConfusionMetric, probabilities: np.ndarray) -> np.ndarray:
    """The gains (classes, classes) whose decisions have the highest expected metric.

    The metric is a smooth function of means over rows. Each step decides by its gradient at the current means.
    """
    best, highest = np.eye(probabilities.shape[1]), -np.inf
    frequencies = np.maximum(probabilities.mean(axis=0), EPSILON)
    for power in STARTS:
        gains, value = np.diag(frequencies**-power), -np.inf
        for _ in range(MAX_STEPS):
            decided = _most_probable(probabilities @ gains)
            means = metric.quantities(probabilities, decided).mean(axis=0, dtype=float)
            previous, value = value, metric.function(means)
            if value > highest:
                best, highest = gains, value
            if value <= previous:
                break
            gains = metric.gains(gradient(metric.function, means))
    return best


def _most_probable(scores: np.ndarray) -> np.ndarray:
    """1 for the highest score of each row, 0 for others."""
    decided = np.zeros(scores.shape, dtype=np.float32)
    decided[np.arange(len(scores)), scores.argmax(axis=1)] = 1
    return decided
