import numpy as np
import pytest

from competition.scoring.calibration import fit_calibration
from competition.scoring.metrics import log_loss


def simulate(kind, rows=4_000):
    """Labels, their probabilities, and the same sharpened and with some outputs exaggerated."""
    rng, shape = np.random.default_rng(0), (rows, 3)
    logits = 1.5 * rng.normal(size=shape) + [1.0, 0.0, -1.5]
    distortion = np.array([0.0, 0.5, 1.0])
    if kind == "labels":
        true, changed = (1 / (1 + np.exp(-each)) for each in (logits, 2 * logits + distortion))
        return (rng.random(shape) < true).astype(np.uint8), true, changed
    true, changed = (
        np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, 2 * logits + distortion)
    )
    return (true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1), true, changed


@pytest.mark.parametrize("kind", ["class", "labels"])
def test_distorted_probabilities_are_restored(kind):
    labels, true, distorted = simulate(kind)
    calibration = fit_calibration(distorted, labels)
    calibrated = calibration.apply(distorted)
    assert calibration.slope == pytest.approx(0.5, rel=0.1)
    assert np.abs(calibrated - true).max() < 0.06
    assert log_loss(labels, calibrated).value < log_loss(labels, distorted).value - 0.05


@pytest.mark.parametrize("kind", ["class", "labels"])
def test_each_output_is_on_average_as_probable_as_it_is_frequent(kind):
    labels, _, distorted = simulate(kind)
    frequencies = labels.mean(axis=0) if kind == "labels" else np.bincount(labels) / len(labels)
    assert np.abs(fit_calibration(distorted, labels).apply(distorted).mean(axis=0) - frequencies).max() < 0.001


def test_offsets_of_classes_without_rows_stay_finite():
    labels, probabilities = np.zeros(20, dtype=int), np.full((20, 3), 1 / 3)
    calibration = fit_calibration(probabilities, labels)
    assert np.abs(calibration.offsets).max() < 10 and np.isfinite(calibration.apply(probabilities)).all()


def test_probabilities_that_say_nothing_become_the_frequencies():
    rng = np.random.default_rng(0)
    labels, noise = rng.choice(3, size=5_000, p=[0.6, 0.3, 0.1]), rng.dirichlet(np.ones(3), 5_000)
    calibrated = fit_calibration(noise, labels).apply(noise)
    assert np.abs(calibrated - [0.6, 0.3, 0.1]).max() < 0.1
