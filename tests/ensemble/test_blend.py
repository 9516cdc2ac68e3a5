import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from competition.crossval.predictions import Predictions
from competition.ensemble.blend import blend, check_blender
from competition.ensemble.blenders import BLENDERS
from competition.errors import UserError
from competition.scoring.metrics import accuracy, log_loss

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


def guesses(random, rows):
    return random.dirichlet(np.full(CLASSES, 0.3), rows)


def guesser(name, random, rows=ROWS):
    """A member that knows nothing and is sure of it."""
    oof, *test = (guesses(random, rows) for _ in range(1 + FOLDS))
    return Predictions(name, oof, np.stack(test), 1.0, name)


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return random, random.integers(0, CLASSES, ROWS), random.integers(0, CLASSES, ROWS), np.arange(ROWS) % FOLDS


def test_the_mean_is_the_mean_member_by_member_and_fold_by_fold(rows):
    random, labels, test_labels, held_out = rows
    members = [member(str(i), labels, test_labels, 1.5, random) for i in range(3)]
    blended = blend(members, labels, held_out, "mean")
    assert np.allclose(blended.oof, np.mean([one.oof for one in members], axis=0))
    assert np.allclose(blended.test, np.mean([one.test for one in members], axis=(0, 1)))


def test_useless_members_are_left_out(rows):
    random, labels, test_labels, held_out = rows
    good = [member(f"good{i}", labels, test_labels, 2.0, random) for i in range(2)]
    useless = [guesser(f"useless{i}", random) for i in range(6)]
    blended = blend([*useless, *good], labels, held_out, "hill-climbing")
    assert blended.combination.weights[-2:].sum() > 0.98
    assert blended.combination.weights[-2:] == pytest.approx([0.5, 0.5], abs=0.1)
    assert blended.accuracy.value > blend([*useless, *good], labels, held_out, "mean").accuracy.value


def test_a_smoothed_network_is_not_misranked(rows):
    random, labels, test_labels, held_out = rows
    strong_but_flat = member("flat", labels, test_labels, 2.5, random, sharpness=0.3)
    weak = member("weak", labels, test_labels, 1.0, random)
    assert log_loss(labels, strong_but_flat.oof).value > 0.3
    weights = blend([weak, strong_but_flat], labels, held_out, "hill-climbing").combination.weights
    assert weights[1] > 0.8


def test_the_score_is_not_optimistic_when_nothing_is_to_be_found():
    """Members of pure noise: whatever is picked, honest accuracy is chance."""
    scores = []
    for draw in range(20):
        random = np.random.default_rng(draw)
        labels, held_out = random.integers(0, CLASSES, 500), np.arange(500) % FOLDS
        noise = [guesser(str(i), random, rows=500) for i in range(8)]
        scores.append(blend(noise, labels, held_out, "hill-climbing").accuracy.value)
    error = np.std(scores) / np.sqrt(len(scores))
    assert np.mean(scores) < 1 / CLASSES + 2 * error


def test_labels_of_a_fold_do_not_touch_its_own_score(rows):
    random, labels, test_labels, held_out = rows
    members = [member(str(i), labels, test_labels, 1.0 + i / 2, random) for i in range(3)]
    spoiled = np.where(held_out == 2, (labels + 1) % CLASSES, labels)
    honest, blind = (blend(members, one, held_out, "hill-climbing") for one in (labels, spoiled))
    assert (honest.oof[held_out == 2] == blind.oof[held_out == 2]).all()
    assert (honest.oof[held_out == 1] != blind.oof[held_out == 1]).any()


def test_one_member_blends_to_itself(rows):
    random, labels, test_labels, held_out = rows
    one = member("one", labels, test_labels, 2.0, random)
    blended = blend([one], labels, held_out, "hill-climbing")
    assert blended.combination.weights == [1.0]
    assert (blended.oof.argmax(axis=1) == one.oof.argmax(axis=1)).all()


@pytest.mark.parametrize("blender", ["hill-climbing", "convex"])
def test_one_good_member_among_nine_guessers_is_not_flattered(blender):
    """Mean over draws of the cross-fitted score minus the same blend's score on fresh rows."""
    flattery = []
    for draw in range(50):
        random = np.random.default_rng(draw)
        labels, fresh = random.integers(0, CLASSES, 400), random.integers(0, CLASSES, 4_000)
        oof = [guesses(random, 400) for _ in range(9)] + [predictor(labels, 1.0, random)]
        test = [guesses(random, 4_000) for _ in range(9)] + [predictor(fresh, 1.0, random)]
        members = [Predictions("", one, other[None], 1.0, "") for one, other in zip(oof, test, strict=True)]
        blended = blend(members, labels, np.arange(400) % FOLDS, blender)
        flattery.append(blended.accuracy.value - accuracy(fresh, blended.test).value)
    error = np.std(flattery) / np.sqrt(len(flattery))
    assert np.mean(flattery) < 2 * error


def test_auto_keeps_the_mean_of_equals(rows):
    random, labels, test_labels, held_out = rows
    one = member("one", labels, test_labels, 1.5, random)
    assert blend([one, replace(one, member="the same")], labels, held_out).blender == "mean"


def test_auto_takes_what_beats_the_mean_beyond_noise(rows):
    random, labels, test_labels, held_out = rows
    members = [member("good", labels, test_labels, 2.0, random), guesser("useless", random)]
    chosen = blend(members, labels, held_out)
    assert chosen.blender != "mean"
    assert chosen.log_loss.value < blend(members, labels, held_out, "mean").log_loss.value - 0.1


def test_of_two_folds_auto_tells_the_score_of_what_it_submits(rows):
    random, labels, test_labels, _ = rows
    members = [member("good", labels, test_labels, 2.0, random), guesser("useless", random)]
    halves = np.arange(ROWS) % 2
    chosen = blend(members, labels, halves)
    assert (chosen.oof == blend(members, labels, halves, chosen.blender).oof).all()


def test_an_unknown_blender_is_told_with_those_there_are():
    with pytest.raises(UserError, match="no blender 'median'; choose from auto, mean, geometric"):
        check_blender("median")


MANY = """
import resource, sys, time
import numpy as np
from competition.ensemble.blend import blend
from competition.crossval.predictions import Predictions
random = np.random.default_rng(0)
labels, held_out = random.integers(0, 10, 42_000), np.arange(42_000) % 5
members = []
for number in range(20):
    logits = random.normal(size=(42_000, 10)).astype(np.float32)
    logits[np.arange(42_000), labels] += 3
    said = np.exp(3 * logits)
    said /= said.sum(axis=1, keepdims=True)
    members.append(Predictions(str(number), said, np.stack([said[:28_000]] * 5), 1.0, ""))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
blend(members, labels, held_out, sys.argv[1])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("blender", BLENDERS)
def test_twenty_members_of_full_size_are_blended_in_seconds(blender):
    run = subprocess.run([sys.executable, "-c", MANY, blender], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, gigabytes = map(float, run.stdout.split())
    print(f"{blender}: {seconds:.1f} s, {gigabytes:.2f} GiB")
    assert seconds < 10 and gigabytes < 2
