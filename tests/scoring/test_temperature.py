import numpy as np
import pytest

from competition.scoring.temperature import apply_temperature, fit_temperature


@pytest.fixture
def calibrated():
    """Calibrated probabilities, and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 5_000)
    logits = rng.normal(size=(len(labels), 4))
    logits[np.arange(len(labels)), labels] += 2
    # With unit normal noise, the posterior of the label is the softmax of skill times the logits.
    powers = np.exp(2 * logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def test_the_fitted_temperature_reverts_the_applied_one(calibrated):
    probabilities, labels = calibrated
    assert fit_temperature(probabilities, labels) == pytest.approx(1, rel=0.1)
    for applied in (0.5, 2.0, 8.0):
        miscalibrated = apply_temperature(probabilities, applied)
        assert fit_temperature(miscalibrated, labels) == pytest.approx(1 / applied, rel=0.1)
        assert np.allclose(apply_temperature(miscalibrated, 1 / applied), probabilities, atol=2e-3)


def test_no_other_temperature_has_a_lower_log_loss(calibrated):
    probabilities, labels = calibrated
    miscalibrated = apply_temperature(probabilities, 0.6)

    def loss(temperature):
        return -np.log(apply_temperature(miscalibrated, temperature)[np.arange(len(labels)), labels]).mean()

    best = fit_temperature(miscalibrated, labels)
    assert loss(best) < min(loss(best * 1.03), loss(best / 1.03))


def test_uniform_and_certain_probabilities_stay_finite():
    labels = np.arange(100) % 4
    for probabilities in (np.full((100, 4), 0.25), np.eye(4)[labels], np.eye(4)[(labels + 1) % 4]):
        assert np.isfinite(apply_temperature(probabilities, fit_temperature(probabilities, labels))).all()
