import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import ROOT

from competition.crossval.predictions import Predictions
from competition.ensemble import blenders
from competition.ensemble.advice import measure_contributions
from competition.ensemble.blend import BlendSearch, blend, check_blender, choose_labels_of_members, combine_models
from competition.ensemble.blenders import BLENDERS, fit_blender
from competition.errors import UserError
from competition.scoring.metrics import accuracy, find_metric, log_loss
from competition.scoring.temperature import fit_temperature

ROWS, CLASSES, FOLDS = 3_000, 4, 5


def simulate_probabilities(labels, skill, rng, sharpness=1.0):
    """Probabilities that are more accurate the greater the skill, and calibrated unless the sharpness is changed."""
    logits = rng.normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += skill
    # With unit normal noise, the posterior of the label is the softmax of skill times the logits.
    powers = np.exp(sharpness * skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


def simulate_member(simulation, skill, sharpness=1.0, name=""):
    rng, labels, test_labels, _ = simulation
    test = np.stack([simulate_probabilities(test_labels, skill, rng, sharpness) for _ in range(FOLDS)])
    return Predictions(name, simulate_probabilities(labels, skill, rng, sharpness), test, 1.0, name)


def random_probabilities(rng, rows):
    return rng.dirichlet(np.full(CLASSES, 0.3), rows)


def random_member(rng, rows=ROWS, name=""):
    """A member with confident random predictions."""
    oof, *test = (random_probabilities(rng, rows) for _ in range(1 + FOLDS))
    return Predictions(name, oof, np.stack(test), 1.0, name)


@pytest.fixture
def simulation():
    """A random generator, training labels, test labels and folds."""
    rng = np.random.default_rng(0)
    return rng, rng.integers(0, CLASSES, ROWS), rng.integers(0, CLASSES, ROWS), np.arange(ROWS) % FOLDS


def test_the_temperature_of_a_member_is_fitted_once_on_the_same_rows(simulation, monkeypatch):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, 2.0, sharpness=2.0, name=name) for name in ("mlp", "lenet", "knn")]
    expected = blend(members, labels, held_out).oof
    fitted = []

    def count_temperatures(probabilities, labels):
        fitted.append((probabilities.tobytes(), labels.tobytes()))
        return fit_temperature(probabilities, labels)

    monkeypatch.setattr(blenders, "fit_temperature", count_temperatures)
    search = BlendSearch(members, labels, held_out)
    blended = search.blend()
    measure_contributions(search, blended)
    assert len(fitted) == len(set(fitted)) and (blended.oof == expected).all()


def test_the_mean_averages_members_and_folds(simulation):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, 1.5, name=name) for name in ("mlp", "lenet", "knn")]
    blended = blend(members, labels, held_out, "mean")
    assert blended.members == ("mlp", "lenet", "knn")
    assert np.allclose(blended.oof, np.mean([member.oof for member in members], axis=0))
    assert np.allclose(blended.test, np.mean([member.test for member in members], axis=(0, 1)))


def test_a_single_model_takes_part_in_every_blend_and_members_without_weight_in_none(simulation):
    rng = np.random.default_rng(0)
    several, single = (rng.dirichlet(np.ones(10), (count, ROWS)) for count in (3, 1))
    combination = blenders.WeightedMean(np.array([0.25, 0.75, 0.0]), np.ones(3))
    combined = combine_models(combination, [several, single, None])
    assert np.allclose(combined, 0.25 * several.mean(axis=0) + 0.75 * single[0])
    powers = several * single**2
    combined = combine_models(blenders.LogLinear(np.array([1.0, 2.0, 0.0])), [several, single, None])
    assert np.allclose(combined, (powers / powers.sum(axis=2, keepdims=True)).mean(axis=0), atol=1e-5)


def test_useless_members_get_no_weight(simulation):
    rng, labels, _, held_out = simulation
    good = [simulate_member(simulation, 2.0) for _ in range(2)]
    useless = [random_member(rng) for _ in range(6)]
    blended = blend([*useless, *good], labels, held_out, "hill-climbing")
    assert blended.combination.weights[-2:].sum() > 0.98
    assert blended.combination.weights[-2:] == pytest.approx([0.5, 0.5], abs=0.1)
    assert blended.accuracy.value > blend([*useless, *good], labels, held_out, "mean").accuracy.value


def test_an_underconfident_accurate_member_gets_most_weight(simulation):
    _, labels, _, held_out = simulation
    underconfident = simulate_member(simulation, 2.5, sharpness=0.3)
    inaccurate = simulate_member(simulation, 1.0)
    assert log_loss(labels, underconfident.oof).value > 0.3
    weights = blend([inaccurate, underconfident], labels, held_out, "hill-climbing").combination.weights
    assert weights[1] > 0.8


@pytest.mark.parametrize("blender", ["hill-climbing", "log-linear"])
def test_blends_of_random_members_score_chance(blender):
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, held_out = rng.integers(0, CLASSES, 500), np.arange(500) % FOLDS
        noise = [random_member(rng, rows=500) for _ in range(8)]
        scores.append(blend(noise, labels, held_out, blender).accuracy.value)
    error = np.std(scores) / np.sqrt(len(scores))
    assert np.mean(scores) < 1 / CLASSES + 2 * error


@pytest.mark.parametrize("blender", ["hill-climbing", "log-linear"])
def test_labels_of_a_fold_do_not_affect_its_blended_predictions(blender, simulation):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, 1.0 + i / 2) for i in range(3)]
    changed_labels = np.where(held_out == 2, (labels + 1) % CLASSES, labels)
    original, changed = (blend(members, each, held_out, blender).oof for each in (labels, changed_labels))
    assert (original[held_out == 2] == changed[held_out == 2]).all()
    assert (original[held_out == 1] != changed[held_out == 1]).any()


def test_the_blend_of_a_single_member_predicts_the_same_classes(simulation):
    _, labels, _, held_out = simulation
    member = simulate_member(simulation, 2.0)
    blended = blend([member], labels, held_out, "hill-climbing")
    assert blended.combination.weights == [1.0]
    assert (blended.oof.argmax(axis=1) == member.oof.argmax(axis=1)).all()


@pytest.mark.parametrize("blender", ["hill-climbing", "convex"])
def test_the_score_with_nine_random_members_is_not_optimistic(blender):
    optimism = []  # cross-fitted accuracy minus that of the same blend on new rows
    for seed in range(50):
        rng = np.random.default_rng(seed)
        labels, test_labels = rng.integers(0, CLASSES, 400), rng.integers(0, CLASSES, 4_000)
        oof = [random_probabilities(rng, 400) for _ in range(9)] + [simulate_probabilities(labels, 1.0, rng)]
        test = [random_probabilities(rng, 4_000) for _ in range(9)] + [simulate_probabilities(test_labels, 1.0, rng)]
        members = [Predictions("", train, new[None], 1.0, "") for train, new in zip(oof, test, strict=True)]
        blended = blend(members, labels, np.arange(400) % FOLDS, blender)
        optimism.append(blended.accuracy.value - accuracy(test_labels, blended.test).value)
    error = np.std(optimism) / np.sqrt(len(optimism))
    assert np.mean(optimism) < 2 * error


def test_auto_keeps_the_mean_of_equal_members(simulation):
    _, labels, _, held_out = simulation
    member = simulate_member(simulation, 1.5)
    assert blend([member, replace(member, member="duplicate")], labels, held_out).blender == "mean"


def test_auto_selects_a_blender_that_beats_the_mean_significantly(simulation):
    rng, labels, _, held_out = simulation
    members = [simulate_member(simulation, 2.0), random_member(rng)]
    selected = blend(members, labels, held_out)
    assert selected.blender != "mean"
    assert selected.log_loss.value < blend(members, labels, held_out, "mean").log_loss.value - 0.1


@dataclass(frozen=True)
class Memorizer:
    """Predicts the rows it was fitted on without error, and others as the first member does."""

    labels: dict[bytes, int]
    weights: np.ndarray

    def combine(self, stack):
        combined = stack[0].copy()
        for row, probabilities in enumerate(combined):
            if (label := self.labels.get(stack[:, row].tobytes())) is not None:
                probabilities[:] = np.eye(CLASSES)[label]
        return combined


def test_a_blender_that_memorizes_labels_is_not_selected(simulation, monkeypatch):
    _, labels, _, held_out = simulation

    def memorize(stack, labels):
        rows = {stack[:, row].tobytes(): int(label) for row, label in enumerate(labels)}
        return Memorizer(rows, np.eye(len(stack))[0])

    monkeypatch.setitem(BLENDERS, "memorize", memorize)
    members = [simulate_member(simulation, 2.0) for _ in range(2)]
    assert blend(members, labels, held_out).blender != "memorize"
    memorized = blend(members, labels, held_out, "memorize")
    assert (memorized.combination.combine(np.stack([each.oof for each in members])).argmax(axis=1) == labels).all()
    assert memorized.log_loss.value == pytest.approx(log_loss(labels, members[0].oof).value)


def test_rows_of_a_group_are_not_counted_as_independent_when_a_blender_is_selected():
    rng = np.random.default_rng(1)
    first = rng.integers(0, CLASSES, 60)
    oof = [simulate_probabilities(first, skill, rng) for skill in (1.0, 1.3)]
    labels, groups = np.repeat(first, 50), np.repeat(np.arange(60), 50)
    members = [Predictions("", np.repeat(each, 50, axis=0), each[None], 1.0, "") for each in oof]
    held_out = groups % FOLDS
    independent, grouped = blend(members, labels, held_out), blend(members, labels, held_out, groups=groups)
    assert independent.blender != "mean" and grouped.blender == "mean"
    assert grouped.log_loss.standard_error > 3 * independent.log_loss.standard_error
    assert grouped.accuracy.standard_error > 3 * independent.accuracy.standard_error


def test_a_search_without_a_member_blends_the_others_alike(simulation):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, skill) for skill in (1.0, 1.5, 2.0)]
    groups = np.arange(ROWS) // 2
    others = BlendSearch(members, labels, held_out, groups).without(members[1])
    expected = BlendSearch([members[0], members[2]], labels, held_out, groups)
    assert (others.blend("tempered").oof == expected.blend("tempered").oof).all()
    assert others.blend().log_loss == expected.blend().log_loss


def test_models_of_all_rows_replace_the_test_predictions_only(simulation):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, 2.0) for _ in range(2)]
    blended = blend(members, labels, held_out, "mean")
    refits = [simulate_member(simulation, 2.0).test[:3] for _ in range(2)]
    refitted = blended.with_refits(refits, 3)
    assert np.allclose(refitted.test, np.mean(refits, axis=(0, 1))) and refitted.refits == 3
    assert (refitted.oof == blended.oof).all() and refitted.log_loss == blended.log_loss


def test_with_two_folds_a_blender_is_selected_on_halves_of_the_other_fold(simulation):
    rng, labels, _, _ = simulation
    members = [simulate_member(simulation, 2.0), random_member(rng)]
    halves = np.arange(ROWS) % 2
    selected = blend(members, labels, halves)
    assert selected.blender != "mean"
    assert selected.log_loss.value < blend(members, labels, halves, "mean").log_loss.value

    changed = labels.copy()  # only in the first fold, which the blends of its rows do not use
    changed[halves == 0] = rng.permutation(labels[halves == 0])
    assert (blend(members, changed, halves).oof[halves == 0] == selected.oof[halves == 0]).all()

    # Each fold is a single group, which cannot be halved.
    by_fold = BlendSearch(members, labels, halves, halves)
    assert by_fold.select_blender(frozenset(by_fold.blocks[halves == 0])) == "mean"


def test_groups_are_not_divided_when_two_folds_are_halved(simulation):
    _, labels, _, _ = simulation
    groups = np.arange(ROWS) // 3
    held_out = groups // 2 % 2
    blocks = BlendSearch([simulate_member(simulation, 2.0)], labels, held_out, groups).blocks
    assert sorted(np.unique(blocks)) == [0, 1, 2, 3] and np.bincount(blocks).min() >= ROWS // 5
    assert (blocks // 2 == held_out).all()
    five = np.arange(ROWS) % FOLDS
    assert (BlendSearch([simulate_member(simulation, 2.0)], labels, five).blocks == five).all()
    assert all(len(np.unique(blocks[groups == group])) == 1 for group in np.unique(groups))


def test_the_error_for_an_unknown_blender_lists_the_available_ones():
    with pytest.raises(UserError, match="unknown blender 'median'; choose from auto, mean, tempered"):
        check_blender("median", "class")
    with pytest.raises(UserError, match="blender log-linear does not apply to numbers; choose from auto, mean, convex"):
        check_blender("log-linear", "number")


@pytest.fixture
def label_sets():
    """Random sets of three labels."""
    return (np.random.default_rng(3).random((ROWS, 3)) < 0.3).astype(np.uint8)


def simulate_labels(labels, skill, seed):
    """Calibrated probabilities of each label."""
    evidence = np.random.default_rng(seed).normal(size=labels.shape) + skill * labels
    return 1 / (1 + np.exp(-skill * (evidence - skill / 2)) * 0.7 / 0.3)


@pytest.mark.parametrize("blender", BLENDERS)
def test_label_sets_are_blended_as_binary_classification_of_each_label(label_sets, blender):
    stack = np.stack([simulate_labels(label_sets, 1.5, 1), simulate_labels(label_sets, 2.5, 2)])
    combination = fit_blender(blender, stack, label_sets)
    cells = [np.stack([1 - member.ravel(), member.ravel()], axis=1) for member in stack]
    expected = BLENDERS[blender](np.stack(cells), label_sets.ravel()).combine(np.stack(cells))[:, 1]
    assert (combination.combine(stack).ravel() == expected).all()
    assert combination.weights.sum() == pytest.approx(1)
    if blender in ("convex", "hill-climbing"):
        assert combination.weights[1] > combination.weights[0]


@pytest.mark.parametrize("folds", [2, FOLDS])
def test_a_blend_of_label_sets_is_better_than_its_members(label_sets, folds):
    oof = [simulate_labels(label_sets, 2.0, seed) for seed in (1, 2)]
    members = [Predictions(str(n), each, np.stack([each] * folds), 1.0, "") for n, each in enumerate(oof)]
    blended = blend(members, label_sets, np.arange(ROWS) % folds)
    assert blended.log_loss.value < min(log_loss(label_sets, each).value for each in oof) - 0.02
    assert blended.test.shape == label_sets.shape


def test_memorized_random_label_sets_score_no_better_than_chance():
    rng = np.random.default_rng(0)
    labels = (rng.random((ROWS, 3)) < 0.5).astype(np.uint8)
    members = [Predictions(str(n), rng.random((ROWS, 3)), rng.random((FOLDS, ROWS, 3)), 1.0, "") for n in range(20)]
    blended = blend(members, labels, np.arange(ROWS) % FOLDS, "hill-climbing")
    assert blended.log_loss.value > np.log(2) - 2 * blended.log_loss.standard_error


def simulate_numbers(labels, noise, seed, bias=0.0):
    error = np.random.default_rng(seed).normal(bias, noise, len(labels))
    return (labels + error)[:, None]


def test_numbers_are_weighted_by_the_inverse_of_their_variance():
    labels = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    stack = np.stack([simulate_numbers(labels, noise, seed) for seed, noise in enumerate((1.0, 0.5, 2.0))])
    weights = fit_blender("convex", stack, labels).weights
    expected = np.array([1, 4, 0.25]) / 5.25
    assert weights == pytest.approx(expected, abs=0.02)
    assert weights.sum() == pytest.approx(1)
    exact = fit_blender("convex", np.stack([labels[:, None]] * 2), labels)
    assert np.allclose(exact.combine(np.stack([labels[:, None]] * 2))[:, 0], labels)


@pytest.mark.parametrize("folds", [2, FOLDS])
def test_the_blend_of_numbers_is_selected_by_cross_fitted_squared_error(folds):
    labels = np.random.default_rng(0).normal(size=ROWS).astype(np.float32)
    oof = [simulate_numbers(labels, noise, seed) for seed, noise in enumerate((0.3, 2.0))]
    members = [Predictions(str(n), each, np.stack([each] * folds), 1.0, "") for n, each in enumerate(oof)]
    blended = blend(members, labels, np.arange(ROWS) % folds)
    assert blended.blender == "convex" and blended.oof.shape == (ROWS, 1)
    assert blended.accuracy is None and blended.log_loss is None


TWENTY_MEMBERS_SCRIPT = """
import resource, sys, time
import numpy as np
from competition.ensemble.blend import blend
from competition.crossval.predictions import Predictions
rng = np.random.default_rng(0)
labels, held_out = rng.integers(0, 10, 42_000), np.arange(42_000) % 5
members = []
for number in range(20):
    logits = rng.normal(size=(42_000, 10)).astype(np.float32)
    logits[np.arange(42_000), labels] += 3
    oof = np.exp(3 * logits)
    oof /= oof.sum(axis=1, keepdims=True)
    members.append(Predictions(str(number), oof, np.stack([oof[:28_000]] * 5), 1.0, ""))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
blend(members, labels, held_out, sys.argv[1])
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("blender", BLENDERS)
def test_blending_twenty_members_of_full_size_takes_seconds(blender):
    done = subprocess.run(
        [sys.executable, "-c", TWENTY_MEMBERS_SCRIPT, blender], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, gibibytes = map(float, done.stdout.split())
    print(f"{blender}: {seconds:.1f} s, {gibibytes:.2f} GiB")
    assert seconds < 10 and gibibytes < 2


def test_labels_are_chosen_for_the_metric_without_those_of_the_fold(simulation):
    rng, _, _, held_out = simulation
    labels = rng.choice(CLASSES, size=ROWS, p=[0.7, 0.2, 0.06, 0.04])
    simulation = rng, labels, labels, held_out
    members, metric = [simulate_member(simulation, skill) for skill in (1.2, 1.5)], find_metric("macro F1")
    blended = blend(members, labels, held_out, "convex", label_metric=metric)
    assert metric.score(labels, blended.submitted_oof).value > metric.score(labels, blended.oof).value + 0.01
    rows = held_out == 2
    changed = np.where(rows, 3, labels)
    other = blend(members, changed, held_out, "convex", label_metric=metric)
    assert (other.submitted_oof[rows] == blended.submitted_oof[rows]).all()
    assert (other.submitted_oof[~rows] != blended.submitted_oof[~rows]).any()


@pytest.mark.parametrize("folds", [2, FOLDS])
def test_refits_choose_labels_by_the_calibrated_mean_of_their_blends(folds, simulation):
    rng, _, _, _ = simulation
    labels, held_out = rng.choice(CLASSES, size=ROWS, p=[0.7, 0.2, 0.06, 0.04]), np.arange(ROWS) % folds
    simulation = rng, labels, labels, held_out
    members, metric = [simulate_member(simulation, skill) for skill in (1.2, 1.5)], find_metric("macro F1")
    blended = blend(members, labels, held_out, "log-linear", label_metric=metric)
    refits = [member.test[:2] for member in members]
    chosen = blended.with_refits(refits, 2).submitted_test
    blends = [blended.combination.combine(np.stack([each[model] for each in refits])) for model in range(2)]
    calibrated = np.mean([blended.decision.calibration.apply(each) for each in blends], axis=0)
    assert (chosen == blended.decision.choose(calibrated)).all()
    assert (chosen.sum(axis=1) == 1).all() and (chosen != blended.submitted_test).any()


def test_members_are_scored_by_the_labels_that_each_would_submit(simulation):
    rng, _, _, held_out = simulation
    labels = rng.choice(CLASSES, size=ROWS, p=[0.7, 0.2, 0.06, 0.04])
    member, metric = simulate_member((rng, labels, labels, held_out), 1.5, name="mlp"), find_metric("macro F1")
    submitted = choose_labels_of_members([member], labels, held_out, None, metric)["mlp"]
    assert (submitted == blend([member], labels, held_out, label_metric=metric).submitted_oof).all()
    assert metric.score(labels, submitted).value > metric.score(labels, member.oof).value
    assert choose_labels_of_members([member], labels, held_out, None, None)["mlp"] is member.oof


def test_probabilities_are_submitted_where_the_most_probable_class_is_best(simulation):
    _, labels, _, held_out = simulation
    members = [simulate_member(simulation, skill) for skill in (1.2, 1.5)]
    for metric in (None, find_metric("accuracy")):
        blended = blend(members, labels, held_out, "convex", label_metric=metric)
        assert blended.decision is None
        assert (blended.submitted_oof == blended.oof).all() and blended.submitted_test is blended.test
