"""Calibrate probabilities so that the mean probability of each class or label is about its frequency.

Temperature scaling alone leaves the probabilities of rare classes wrong, e.g. after label smoothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from competition.data.targets import target_kind
from competition.scoring.temperature import EPSILON

MAX_ITERATIONS = 100
MAX_CELLS = 500_000  # rows times outputs on which it is fitted


@dataclass(frozen=True)
class Calibration:
    """A linear function of the log probabilities of classes, or of the logits of labels."""

    slope: float  # 1 / temperature
    offsets: np.ndarray  # of the classes or labels
    is_multilabel: bool

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrate probabilities (rows, outputs)."""
        scores = self.slope * _logits(probabilities, self.is_multilabel) + self.offsets
        calibrated = expit(scores) if self.is_multilabel else softmax(scores, axis=1)
        return np.clip(calibrated, EPSILON, 1 - EPSILON)  # so that no threshold of a label becomes 0


def fit_calibration(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Minimize the log loss of these rows, or of a part if they are many; offsets of very rare classes stay near 0."""
    step = -(-probabilities.size // MAX_CELLS)
    probabilities, labels = probabilities[::step], labels[::step]
    is_multilabel, (rows, outputs) = target_kind(labels) == "labels", probabilities.shape
    logits = _logits(probabilities, is_multilabel)
    signs = 2.0 * labels - 1 if is_multilabel else None
    indices = np.arange(rows)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offsets = parameters[0], parameters[1:]
        scores = slope * logits + offsets
        if signs is not None:
            log_likelihood, errors = log_expit(signs * scores).sum(), expit(scores) - labels
        else:
            log_probabilities = log_softmax(scores, axis=1)
            log_likelihood, errors = log_probabilities[indices, labels].sum(), np.exp(log_probabilities)
            errors[indices, labels] -= 1
        gradient = np.concatenate([[(errors * logits).sum()], errors.sum(axis=0) + offsets])
        return float(offsets @ offsets / 2 - log_likelihood) / rows, gradient / rows

    start = np.concatenate([[1.0], np.zeros(outputs)])
    bounds = [(0.0, None), *[(None, None)] * outputs]
    best = minimize(loss, start, jac=True, bounds=bounds, options={"maxiter": MAX_ITERATIONS}).x
    return Calibration(float(best[0]), best[1:], is_multilabel)


def _logits(probabilities: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """Logits of labels; log probabilities of classes."""
    clipped = np.clip(probabilities.astype(float), EPSILON, 1 - EPSILON if is_multilabel else None)
    return logit(clipped) if is_multilabel else np.log(clipped)
