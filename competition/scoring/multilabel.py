"""Probabilities of several labels per image: as sets of labels, and as binary classification of every label."""

import numpy as np

THRESHOLD = 0.5


def select_labels(probabilities: np.ndarray, allow_empty: bool) -> np.ndarray:
    """Whether each label is predicted (rows, labels); the most probable one where none is and sets may not be empty."""
    selected = probabilities >= THRESHOLD
    if not allow_empty:
        empty = np.flatnonzero(~selected.any(axis=1))
        selected[empty, probabilities[empty].argmax(axis=1)] = True
    return selected


def has_empty_sets(labels: np.ndarray) -> bool:
    """Whether some rows have no label."""
    return not labels.any(axis=1).all()


def to_binary(probabilities: np.ndarray) -> np.ndarray:
    """Turn (..., rows, labels) into the probabilities (..., rows * labels, 2) that a label is absent or present."""
    present = probabilities.reshape(*probabilities.shape[:-2], -1)
    return np.stack([1 - present, present], axis=-1)


def from_binary(probabilities: np.ndarray, labels: int) -> np.ndarray:
    """Turn (..., rows * labels, 2) back into (..., rows, labels)."""
    return probabilities[..., 1].reshape(*probabilities.shape[:-2], -1, labels)
