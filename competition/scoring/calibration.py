"""Calibrate probabilities so that each class or label is, on average, as probable as it is frequent.

Temperature scaling alone leaves the frequencies of rare classes wrong, e.g. after label smoothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from competition.data.targets import target_kind
from competition.scoring.temperature import EPSILON

MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Calibration:
    """A linear function of the log probabilities of classes, or of the logits of labels."""

    slope: float  # 1 / temperature
    offsets: np.ndarray  # of the classes or labels
    is_multilabel: bool

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrate probabilities (rows, outputs)."""
        scores = self.slope * _log_odds(probabilities, self.is_multilabel) + self.offsets
        return expit(scores) if self.is_multilabel else softmax(scores, axis=1)


def fit_calibration(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Minimize the log loss of these labels; the offsets of classes with few rows stay near 0."""
    is_multilabel, (rows, outputs) = target_kind(labels) == "labels", probabilities.shape
    log_odds = _log_odds(probabilities, is_multilabel)
    true = labels.astype(float) if is_multilabel else np.eye(outputs)[labels]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offsets = parameters[0], parameters[1:]
        calibrated = Calibration(slope, offsets, is_multilabel).apply(probabilities)
        difference = (calibrated - true) / rows
        slopes = np.concatenate([[(difference * log_odds).sum()], difference.sum(axis=0) + offsets / rows])
        return _mean_log_loss(true, calibrated, is_multilabel) + (offsets @ offsets) / (2 * rows), slopes

    start = np.concatenate([[1.0], np.zeros(outputs)])
    bounds = [(0.0, None), *[(None, None)] * outputs]
    best = minimize(loss, start, jac=True, bounds=bounds, options={"maxiter": MAX_ITERATIONS}).x
    return Calibration(float(best[0]), best[1:], is_multilabel)


def _log_odds(probabilities: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """Logits of labels; of classes, log probabilities, which are logits but for a term that all classes share."""
    clipped = np.clip(probabilities.astype(float), EPSILON, 1 - EPSILON if is_multilabel else None)
    return logit(clipped) if is_multilabel else np.log(clipped)


def _mean_log_loss(true: np.ndarray, probabilities: np.ndarray, is_multilabel: bool) -> float:
    """Log loss of the rows, summed over labels."""
    chosen = np.where(true == 1, probabilities, 1 - probabilities if is_multilabel else 1.0)
    return float(-np.log(np.maximum(chosen, EPSILON)).sum(axis=1).mean())
