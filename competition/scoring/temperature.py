"""Temperatures: how sure of itself a predictor is, against how sure it should be."""

import numpy as np

EPSILON = 1e-7  # a probability below this counts as this
MAX_TEMPERATURE = 20.0
MAX_ITERATIONS = 50
TOLERANCE = 1e-4


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the probabilities' log loss is least: above 1 they were too sure of themselves.

    The loss is convex in the inverse temperature, and Newton's steps need only its mean and variance under the model.
    """
    logs = np.log(np.maximum(probabilities, EPSILON)).astype(np.float32)
    logs -= logs.max(axis=1, keepdims=True)
    right = logs[np.arange(len(labels)), labels].mean(dtype=np.float64)
    sharpness = 1.0
    for _ in range(MAX_ITERATIONS):
        powers = np.exp(logs * np.float32(sharpness))
        total = powers.sum(axis=1)
        powers *= logs
        first = powers.sum(axis=1) / total
        second = np.einsum("rc,rc->r", powers, logs) / total
        slope = first.mean(dtype=np.float64) - right
        curve = (second - first**2).mean(dtype=np.float64)
        # Within a factor of two a step, so that a flat curve does not throw it far off.
        step = np.clip(sharpness - slope / max(curve, 1e-12), sharpness / 2, sharpness * 2)
        before, sharpness = sharpness, float(np.clip(step, 1 / MAX_TEMPERATURE, MAX_TEMPERATURE))
        if abs(sharpness / before - 1) < TOLERANCE:
            break
    return 1 / sharpness


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities at another temperature, summing to 1 again."""
    powers = np.maximum(probabilities, EPSILON).astype(np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)
