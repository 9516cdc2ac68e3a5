"""Each blender against predictions whose best blend is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.ensemble.blenders import (
    BLENDERS,
    WeightedMean,
    fit_convex,
    fit_geometric_mean,
    fit_hill_climbing,
    fit_mean,
    fit_stacking,
    fit_tempered_mean,
)
from competition.scoring.metrics import log_loss
from competition.scoring.temperature import apply_temperature

ROWS, CLASSES = 20_000, 4


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, CLASSES, ROWS)


def knowing(labels, skill, seed):
    """Calibrated probabilities: with unit normal noise the posterior is the softmax of skill times the logits."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


def loss(blender, stack, labels):
    return log_loss(labels, blender(stack, labels).combine(stack)).value


def test_means_are_means(labels):
    stack = np.stack([knowing(labels, 1.5, seed) for seed in (1, 2)])
    assert np.allclose(fit_mean(stack, labels).combine(stack), stack.mean(axis=0))
    product = np.sqrt(stack[0] * stack[1])
    expected = product / product.sum(axis=1, keepdims=True)
    assert np.allclose(fit_geometric_mean(stack, labels).combine(stack), expected, atol=1e-4)


def test_the_tempered_mean_undoes_what_spoiled_a_member(labels):
    good = [knowing(labels, 1.5, seed) for seed in (1, 2)]
    spoiled = np.stack([apply_temperature(good[0], 4.0), apply_temperature(good[1], 0.5)])
    assert loss(fit_tempered_mean, spoiled, labels) == pytest.approx(loss(fit_mean, np.stack(good), labels), abs=0.003)
    assert loss(fit_mean, spoiled, labels) > loss(fit_tempered_mean, spoiled, labels) + 0.02


def guessing(seed):
    return np.random.default_rng(seed).dirichlet(np.full(CLASSES, 0.3), ROWS)


@pytest.mark.parametrize("blender", [fit_convex, fit_hill_climbing])
def test_equals_share_and_guessers_get_nothing(blender, labels):
    stack = np.stack([guessing(9), knowing(labels, 1.5, 1), guessing(8), knowing(labels, 1.5, 2)])
    assert blender(stack, labels).weights == pytest.approx((0, 0.5, 0, 0.5), abs=0.06)


@pytest.mark.parametrize(("blender", "within"), [(fit_convex, 1e-5), (fit_hill_climbing, 2e-3)])
def test_no_other_weights_have_a_lower_log_loss(blender, within, labels):
    stack = np.stack(
        [apply_temperature(knowing(labels, skill, seed), 0.7) for skill, seed in ((1.5, 1), (1.2, 2), (0.8, 3))]
    )
    found = blender(stack, labels)
    least = log_loss(labels, found.combine(stack)).value
    random = np.random.default_rng(0)
    for _ in range(30):
        weights = np.maximum(found.weights + random.normal(0, 0.05, 3), 0)
        other = WeightedMean(weights / weights.sum(), found.temperatures)
        assert log_loss(labels, other.combine(stack)).value > least - within


def test_the_regression_finds_the_product_of_independent_members(labels):
    stack = np.stack([knowing(labels, skill, seed) for skill, seed in ((1.5, 1), (1.0, 2))])
    # Members that err independently: the true posterior is their product.
    posterior = stack.prod(axis=0) / stack.prod(axis=0).sum(axis=1, keepdims=True)
    best = log_loss(labels, posterior).value
    assert loss(fit_stacking, stack, labels) == pytest.approx(best, abs=0.004)
    assert loss(fit_mean, stack, labels) > best + 0.05


def test_a_class_that_no_row_shows_gets_next_to_nothing(labels):
    stack = np.stack([knowing(labels, 1.5, seed) for seed in (1, 2)])
    some = labels < 3
    assert fit_stacking(stack[:, some], labels[some]).combine(stack)[:, 3].max() < 1e-3


@pytest.mark.parametrize("name", BLENDERS)
def test_every_blender_gives_probabilities_and_weights(name, labels):
    stack = np.stack([knowing(labels, 1 + seed / 4, seed) for seed in range(6)]).astype(np.float32)
    combination = BLENDERS[name](stack[:, :5_000], labels[:5_000])
    blended = combination.combine(stack)
    assert blended.shape == (ROWS, CLASSES) and (blended >= 0).all()
    assert np.allclose(blended.sum(axis=1), 1, atol=1e-5) and combination.weights.sum() == pytest.approx(1)


@st.composite
def stacks(draw):
    """A few members' probabilities of a few rows, careful ones to certain and wrong ones, and the labels."""
    members, rows, classes = draw(st.integers(1, 4)), draw(st.integers(10, 60)), draw(st.integers(2, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sureness = draw(st.lists(st.sampled_from([0.02, 0.3, 1.0, 10.0]), min_size=members, max_size=members))
    stack = np.stack([random.dirichlet(np.full(classes, each), rows) for each in sureness])
    stack = np.nan_to_num(stack, nan=1 / classes)  # rows so certain that nothing was left to divide by
    labels = random.integers(0, classes, rows)
    labels[:2] = 0, classes - 1
    return stack.astype(np.float32), labels


@pytest.mark.parametrize("name", BLENDERS)
@given(drawn=stacks(), turn=st.randoms(use_true_random=False))
def test_whatever_the_members_a_blend_is_of_probabilities_and_blind_to_their_order(name, drawn, turn):
    stack, labels = drawn
    combination = BLENDERS[name](stack, labels)
    blended = combination.combine(stack)
    assert np.isfinite(blended).all() and (blended >= 0).all() and np.allclose(blended.sum(axis=1), 1, atol=1e-4)
    assert (combination.weights >= 0).all() and combination.weights.sum() == pytest.approx(1)
    order = list(range(len(stack)))
    turn.shuffle(order)
    turned = BLENDERS[name](stack[order], labels)
    # Iterations end where they gain next to nothing, and that may be a step sooner in another order.
    assert turned.weights == pytest.approx(combination.weights[order], abs=0.02)
    assert np.allclose(turned.combine(stack[order]), blended, atol=0.02)


def test_two_classes_can_be_stacked():
    labels = np.random.default_rng(0).integers(0, 2, ROWS)
    stack = np.stack([two(labels, skill, seed) for skill, seed in ((1.5, 1), (1.0, 2))])
    posterior = stack.prod(axis=0) / stack.prod(axis=0).sum(axis=1, keepdims=True)
    assert loss(fit_stacking, stack, labels) == pytest.approx(log_loss(labels, posterior).value, abs=0.004)


def two(labels, skill, seed):
    """Of two classes: what is left of four when the others are impossible."""
    some = knowing(labels, skill, seed)[:, :2]
    return some / some.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["mean", "tempered", "convex", "hill-climbing"])
@given(drawn=stacks())
def test_a_mixture_says_nothing_that_no_member_says(name, drawn):
    stack, labels = drawn
    combination = BLENDERS[name](stack, labels)
    pairs = zip(stack, combination.temperatures, strict=True)
    heard = np.stack([apply_temperature(member, heat) for member, heat in pairs])
    blended = combination.combine(stack)
    assert (blended >= heard.min(axis=0) - 1e-5).all() and (blended <= heard.max(axis=0) + 1e-5).all()
