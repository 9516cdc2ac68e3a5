import numpy as np
import pytest

from competition.ensemble import blend, greedy, mean, temperature, tempered
from competition.metrics import log_loss
from competition.store import Predictions

ROWS, CLASSES, FOLDS = 3_000, 4, 5


def predictor(labels, skill, random, sharpness=1.0):
    """Calibrated probabilities that know more the greater the skill; another sharpness uncalibrates them."""
    logits = random.normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += skill
    # With unit normal noise, the posterior of the label is the softmax of skill times the logits.
    powers = np.exp(sharpness * skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


def member(name, labels, test_labels, skill, random, sharpness=1.0):
    test = np.stack([predictor(test_labels, skill, random, sharpness) for _ in range(FOLDS)])
    return Predictions(name, predictor(labels, skill, random, sharpness), test, 1.0, name)


def guesser(name, random, rows=ROWS):
    """A member that knows nothing and is sure of it."""
    oof, *test = (random.dirichlet(np.full(CLASSES, 0.3), rows) for _ in range(1 + FOLDS))
    return Predictions(name, oof, np.stack(test), 1.0, name)


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return random, random.integers(0, CLASSES, ROWS), random.integers(0, CLASSES, ROWS), np.arange(ROWS) % FOLDS


def test_the_temperature_that_was_applied_is_found(rows):
    random, labels, _, _ = rows
    calibrated = predictor(labels, 2.0, random)
    assert temperature(calibrated, labels) == pytest.approx(1, rel=0.1)
    for applied in (0.5, 2.0):
        spoiled = tempered(calibrated, applied)
        assert temperature(spoiled, labels) == pytest.approx(1 / applied, rel=0.1)
        assert np.allclose(tempered(spoiled, 1 / applied), calibrated, atol=2e-3)


def test_the_mean_is_the_mean_member_by_member_and_fold_by_fold(rows):
    random, labels, test_labels, held_out = rows
    members = [member(str(i), labels, test_labels, 1.5, random) for i in range(3)]
    blended = blend(members, labels, held_out, mean)
    assert np.allclose(blended.oof, np.mean([one.oof for one in members], axis=0))
    assert np.allclose(blended.test, np.mean([one.test for one in members], axis=(0, 1)))


def test_useless_members_are_left_out(rows):
    random, labels, test_labels, held_out = rows
    good = [member(f"good{i}", labels, test_labels, 2.0, random) for i in range(2)]
    useless = [guesser(f"useless{i}", random) for i in range(6)]
    blended = blend([*useless, *good], labels, held_out, greedy)
    assert blended.weighting.weights[-2:].sum() > 0.98
    assert blended.weighting.weights[-2:] == pytest.approx([0.5, 0.5], abs=0.1)
    assert blended.accuracy.value > blend([*useless, *good], labels, held_out, mean).accuracy.value


def test_a_smoothed_network_is_not_misranked(rows):
    random, labels, test_labels, held_out = rows
    strong_but_flat = member("flat", labels, test_labels, 2.5, random, sharpness=0.3)
    weak = member("weak", labels, test_labels, 1.0, random)
    assert log_loss(labels, strong_but_flat.oof).value > 0.3
    weights = blend([weak, strong_but_flat], labels, held_out, greedy).weighting.weights
    assert weights[1] > 0.8


def test_the_score_is_not_optimistic_when_nothing_is_to_be_found():
    """Members of pure noise: whatever is picked, honest accuracy is chance."""
    scores = []
    for draw in range(20):
        random = np.random.default_rng(draw)
        labels, held_out = random.integers(0, CLASSES, 500), np.arange(500) % FOLDS
        noise = [guesser(str(i), random, rows=500) for i in range(8)]
        scores.append(blend(noise, labels, held_out, greedy).accuracy.value)
    error = np.std(scores) / np.sqrt(len(scores))
    assert np.mean(scores) < 1 / CLASSES + 2 * error


def test_labels_of_a_fold_do_not_touch_its_own_score(rows):
    random, labels, test_labels, held_out = rows
    members = [member(str(i), labels, test_labels, 1.0 + i / 2, random) for i in range(3)]
    spoiled = np.where(held_out == 2, (labels + 1) % CLASSES, labels)
    honest, blind = (blend(members, one, held_out, greedy) for one in (labels, spoiled))
    assert (honest.oof[held_out == 2] == blind.oof[held_out == 2]).all()
    assert (honest.oof[held_out == 1] != blind.oof[held_out == 1]).any()


def test_one_member_blends_to_itself(rows):
    random, labels, test_labels, held_out = rows
    one = member("one", labels, test_labels, 2.0, random)
    blended = blend([one], labels, held_out, greedy)
    assert blended.weighting.weights == [1.0]
    assert (blended.oof.argmax(axis=1) == one.oof.argmax(axis=1)).all()
