"""Blenders, tested on predictions whose best blend is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.ensemble.blenders import (
    BLENDERS,
    NUMBER_BLENDERS,
    LogLinear,
    WeightedMean,
    blender_names,
    fit_convex,
    fit_hill_climbing,
    fit_log_linear,
    fit_mean,
    fit_tempered_mean,
    weighted_blender,
)
from competition.scoring.metrics import log_loss
from competition.scoring.temperature import apply_temperature

ROWS, CLASSES = 20_000, 4


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, CLASSES, ROWS)


def simulate_probabilities(labels, skill, seed):
    """Calibrated probabilities: with unit normal noise the posterior is the softmax of skill times the logits."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


def loss(blender, stack, labels):
    return log_loss(labels, blender(stack, labels).combine(stack)).value


def test_the_mean_is_the_arithmetic_mean(labels):
    stack = np.stack([simulate_probabilities(labels, 1.5, seed) for seed in (1, 2)])
    assert np.allclose(fit_mean(stack, labels).combine(stack), stack.mean(axis=0))


def test_equal_exponents_of_sum_1_are_the_geometric_mean(labels):
    stack = np.stack([simulate_probabilities(labels, 1.5, seed) for seed in (1, 2)])
    product = np.sqrt(stack[0] * stack[1])
    expected = product / product.sum(axis=1, keepdims=True)
    assert np.allclose(LogLinear(np.array([0.5, 0.5])).combine(stack), expected, atol=1e-4)


def test_the_tempered_mean_corrects_miscalibrated_members(labels):
    calibrated = [simulate_probabilities(labels, 1.5, seed) for seed in (1, 2)]
    stack = np.stack([apply_temperature(calibrated[0], 4.0), apply_temperature(calibrated[1], 0.5)])
    corrected = loss(fit_tempered_mean, stack, labels)
    assert corrected == pytest.approx(loss(fit_mean, np.stack(calibrated), labels), abs=0.003)
    assert loss(fit_mean, stack, labels) > corrected + 0.02


def random_probabilities(seed):
    return np.random.default_rng(seed).dirichlet(np.full(CLASSES, 0.3), ROWS)


@pytest.mark.parametrize("blender", [fit_convex, fit_hill_climbing, fit_log_linear])
def test_equal_members_share_the_weight_and_random_ones_get_none(blender, labels):
    accurate = [simulate_probabilities(labels, 1.5, seed) for seed in (1, 2)]
    stack = np.stack([random_probabilities(9), accurate[0], random_probabilities(8), accurate[1]])
    assert blender(stack, labels).weights == pytest.approx((0, 0.5, 0, 0.5), abs=0.06)


def test_wrong_members_have_no_weight_at_all(labels):
    right = simulate_probabilities(labels, 1.5, 1)
    wrong = simulate_probabilities((labels + 1) % CLASSES, 1.5, 2)  # with a negative exponent it would be of use
    assert fit_convex(np.stack([right, wrong]), labels, np.ones(2)).weights.tolist() == [1.0, 0.0]
    assert fit_log_linear(np.stack([right, wrong]), labels).weights.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("blender", "tolerance"), [(fit_convex, 1e-5), (fit_hill_climbing, 2e-3)])
def test_no_other_weights_have_a_lower_log_loss(blender, tolerance, labels):
    members = [simulate_probabilities(labels, skill, seed) for skill, seed in ((1.5, 1), (1.2, 2), (0.8, 3))]
    stack = np.stack([apply_temperature(member, 0.7) for member in members])
    best = blender(stack, labels)
    lowest = log_loss(labels, best.combine(stack)).value
    rng = np.random.default_rng(0)
    for _ in range(30):
        weights = np.maximum(best.weights + rng.normal(0, 0.05, 3), 0)
        other = WeightedMean(weights / weights.sum(), best.temperatures)
        assert log_loss(labels, other.combine(stack)).value > lowest - tolerance


def test_no_other_exponents_have_a_lower_log_loss(labels):
    members = [simulate_probabilities(labels, skill, seed) for skill, seed in ((1.5, 1), (1.2, 2), (0.8, 3))]
    stack = np.stack([apply_temperature(member, 0.7) for member in members])
    best = fit_log_linear(stack, labels).exponents
    lowest = log_loss(labels, LogLinear(best).combine(stack)).value
    rng = np.random.default_rng(0)
    for _ in range(30):
        other = LogLinear(np.maximum(best + rng.normal(0, 0.05, 3), 0))
        assert log_loss(labels, other.combine(stack)).value > lowest - 1e-5


def test_the_posterior_of_independent_miscalibrated_members_is_found(labels):
    members = [simulate_probabilities(labels, skill, seed) for skill, seed in ((1.5, 1), (1.0, 2))]
    # The errors are independent, so the true posterior is the normalized product.
    posterior = members[0] * members[1]
    best = log_loss(labels, posterior / posterior.sum(axis=1, keepdims=True)).value
    stack = np.stack([apply_temperature(members[0], 2.0), apply_temperature(members[1], 0.7)])
    assert loss(fit_log_linear, stack, labels) == pytest.approx(best, abs=0.001)
    assert loss(fit_mean, stack, labels) > best + 0.05


def test_wrong_members_are_blended_to_almost_equal_probabilities_in_their_order(labels):
    stack = np.stack([np.roll(simulate_probabilities(labels, 2.0, seed), 1, axis=1) for seed in (1, 2)])
    blended = fit_log_linear(stack, labels).combine(stack)
    assert np.allclose(blended, 1 / CLASSES, atol=1e-3)
    assert (blended.argmax(axis=1) == stack.prod(axis=0).argmax(axis=1)).mean() > 0.99


@pytest.mark.parametrize("name", BLENDERS)
def test_blenders_return_probabilities_and_weights(name, labels):
    stack = np.stack([simulate_probabilities(labels, 1 + seed / 4, seed) for seed in range(6)]).astype(np.float32)
    combination = BLENDERS[name](stack[:, :5_000], labels[:5_000])
    blended = combination.combine(stack)
    assert blended.shape == (ROWS, CLASSES) and (blended >= 0).all()
    assert np.allclose(blended.sum(axis=1), 1, atol=1e-5) and combination.weights.sum() == pytest.approx(1)


def test_numbers_have_blenders_of_their_own():
    assert blender_names("class") == blender_names("labels") == tuple(BLENDERS)
    assert blender_names("number") == tuple(NUMBER_BLENDERS)
    assert [weighted_blender(kind) for kind in ("class", "labels", "number")] == ["log-linear", "log-linear", "convex"]


@st.composite
def stacks(draw):
    """Stacked probabilities of a few rows, from uniform to certain and wrong, and labels."""
    members, rows, classes = draw(st.integers(1, 4)), draw(st.integers(10, 60)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    concentrations = draw(st.lists(st.sampled_from([0.02, 0.3, 1.0, 10.0]), min_size=members, max_size=members))
    stack = np.stack([rng.dirichlet(np.full(classes, concentration), rows) for concentration in concentrations])
    stack = np.nan_to_num(stack, nan=1 / classes)  # of rows whose draws all underflowed to 0
    labels = rng.integers(0, classes, rows)
    labels[:2] = 0, classes - 1
    return stack.astype(np.float32), labels


@pytest.mark.parametrize("name", BLENDERS)
@given(stack_and_labels=stacks(), random=st.randoms(use_true_random=False))
def test_blends_are_probabilities_and_do_not_depend_on_the_order_of_members(name, stack_and_labels, random):
    stack, labels = stack_and_labels
    combination = BLENDERS[name](stack, labels)
    blended = combination.combine(stack)
    assert np.isfinite(blended).all() and (blended >= 0).all() and np.allclose(blended.sum(axis=1), 1, atol=1e-4)
    assert (combination.weights >= 0).all() and combination.weights.sum() == pytest.approx(1)
    order = list(range(len(stack)))
    random.shuffle(order)
    shuffled = BLENDERS[name](stack[order], labels)
    # Iterations stop when they gain little, which may be a step earlier in another order.
    assert shuffled.weights == pytest.approx(combination.weights[order], abs=0.02)
    assert np.allclose(shuffled.combine(stack[order]), blended, atol=0.02)


@pytest.mark.parametrize("name", ["mean", "tempered", "convex", "hill-climbing"])
@given(stack_and_labels=stacks())
def test_mean_blends_lie_between_their_members(name, stack_and_labels):
    stack, labels = stack_and_labels
    combination = BLENDERS[name](stack, labels)
    pairs = zip(stack, combination.temperatures, strict=True)
    scaled = np.stack([apply_temperature(member, temperature) for member, temperature in pairs])
    blended = combination.combine(stack)
    assert (blended >= scaled.min(axis=0) - 1e-5).all() and (blended <= scaled.max(axis=0) + 1e-5).all()
