"""Losses and errors of single rows; `targets.target_kind` tells what labels and predictions are."""

import numpy as np

from competition.data.targets import target_kind
from competition.scoring.multilabel import has_empty_sets, select_labels
from competition.scoring.temperature import EPSILON


def row_losses(labels: np.ndarray, predictions: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Log loss of each row, averaged over several labels; squared error of numbers."""
    match target_kind(labels):
        case "class":
            return -np.log(np.maximum(predictions[np.arange(len(labels)), labels], epsilon))
        case "labels":
            return -np.log(np.maximum(np.where(labels == 1, predictions, 1 - predictions), epsilon)).mean(axis=1)
        case "number":
            return residuals(labels, predictions) ** 2


def residuals(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Differences between predicted and true numbers."""
    return predictions[:, 0].astype(float) - labels


def is_correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1.0 for each row whose most probable class, or set of labels, is right, else 0.0."""
    if target_kind(labels) == "labels":
        return (select_labels(probabilities, has_empty_sets(labels)) == labels).all(axis=1).astype(float)
    return (probabilities.argmax(axis=1) == labels).astype(float)


def row_errors(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1.0 for each wrong row, else 0.0; residuals of numbers."""
    return residuals(labels, predictions) if target_kind(labels) == "number" else 1 - is_correct(labels, predictions)


def loss_name(labels: np.ndarray) -> str:
    """The name of the mean of `row_losses`."""
    return "squared error" if target_kind(labels) == "number" else "log loss"
