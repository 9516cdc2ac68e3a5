from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from random_leaderboards import leaderboards

from competition.crossval.predictions import Predictions
from competition.ensemble.advice import (
    MIN_GAIN,
    Advice,
    Contribution,
    advise,
    estimate_gains,
    mean_reduction,
    measure_contributions,
)
from competition.ensemble.blend import BlendSearch, blend
from competition.models.member import Member
from competition.scoring.standard_error import Score

ROWS, CLASSES, FOLDS = 4_000, 4, 4


def simulate_probabilities(labels, rng, noise=None, skill=1.5):
    """Calibrated probabilities; predictors with the same `noise` make the same errors."""
    logits = rng.normal(size=(len(labels), CLASSES)) if noise is None else noise.copy()
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def rows():
    """Labels, folds, a member whose folds are all alike, one whose folds differ, and a duplicate of the first."""
    rng = np.random.default_rng(0)
    labels, test_labels = rng.integers(0, CLASSES, ROWS), rng.integers(0, CLASSES, ROWS)
    noise = rng.normal(size=(ROWS, CLASSES))
    oof, test = (simulate_probabilities(rows, rng, noise) for rows in (labels, test_labels))
    constant = Predictions("mlp", oof, np.stack([test] * FOLDS), 60, "")
    test_by_fold = [simulate_probabilities(test_labels, rng) for _ in range(FOLDS)]
    variable = Predictions("lenet", simulate_probabilities(labels, rng), np.stack(test_by_fold), 120, "")
    return labels, np.arange(ROWS) % FOLDS, constant, variable, replace(constant, member="mlp.1")


def contributions_by_member(rows, *members):
    labels, held_out = rows[:2]
    full_blend = blend(members, labels, held_out, "log-linear")
    contributions = measure_contributions(BlendSearch(members, labels, held_out), full_blend)
    return {contribution.member: contribution for contribution in contributions}


def test_a_member_with_other_errors_contributes_and_a_duplicate_does_not(rows):
    contributions = contributions_by_member(rows, *rows[2:])
    variable, duplicate = contributions["lenet"], contributions["mlp.1"]
    assert variable.loss_reduction.value > 5 * variable.loss_reduction.standard_error > 0
    assert abs(duplicate.loss_reduction.value) < 1e-3 and abs(duplicate.accuracy_gain.value) < 2e-3
    assert duplicate.error_correlation > 0.4 > 0.2 > variable.error_correlation


def test_another_seed_saves_more_for_members_that_vary_between_folds(rows):
    contributions = contributions_by_member(rows, *rows[2:4])
    constant, variable = contributions["mlp"], contributions["lenet"]
    assert (
        constant.expected_gain_of_new_seed == pytest.approx(0, abs=1e-9) and variable.expected_gain_of_new_seed > 0.002
    )
    assert (constant.minutes, variable.minutes) == (1, 2)


def test_another_seed_of_a_classical_model_saves_nothing(rows):
    classical = replace(rows[3], member="svm")  # differs between folds, as their rows do
    assert contributions_by_member(rows, rows[2], classical)["svm"].expected_gain_of_new_seed == 0


def test_a_candidate_is_expected_to_save_like_another_seed_or_like_the_mean_member(rows):
    labels, held_out, constant, variable, _ = rows
    members = [constant, variable]
    candidates = [Member.parse(name) for name in ("mlp.1", "lenet.1", "quick", "lenet.2", "quick.1")]
    estimates = estimate_gains(members, candidates, labels, held_out)
    gains = {member.name: gain for member, gain in estimates.items()}
    contributions = contributions_by_member(rows, *members)
    assert gains["mlp.1"] == pytest.approx(0, abs=1e-9)
    assert gains["lenet.1"] == gains["lenet.2"] == contributions["lenet"].expected_gain_of_new_seed
    assert gains["quick"] == mean_reduction(list(contributions.values())) > gains["lenet.1"]
    assert gains["quick.1"] == 0


def test_a_second_model_is_expected_to_save_a_part_of_the_first_ones_log_loss(rows):
    labels, held_out, constant = rows[:3]
    (gain,) = estimate_gains([replace(constant, member="knn")], [Member.parse("svm")], labels, held_out).values()
    assert 0 < gain < blend([constant], labels, held_out, "log-linear").log_loss.value


@given(contributions=leaderboards())
def test_advice_never_trains_again_what_it_leaves_out_or_what_contributes_nothing(contributions):
    advice = advise(contributions)
    by_kind = {}
    for member in contributions:
        by_kind.setdefault(member.kind, []).append(member)
    if seed := advice.another_seed:
        assert (
            seed.expected_gain_of_new_seed >= MIN_GAIN * seed.blend_loss and Member.parse(seed.member).spec.is_network
        )
        assert all(member.loss_reduction.value > member.loss_reduction.standard_error for member in by_kind[seed.kind])
    if left_out := advice.leave_out:
        assert left_out in contributions and not left_out.is_measurable
        assert not seed or seed.kind != left_out.kind
    else:
        assert all(member.is_measurable for member in contributions)


def test_contradictory_advice_cannot_be_expressed():
    first = Contribution("quick", None, Score(0.01, 0.001), 0.5, 0.01, 1.0, 0.1)
    second = replace(first, member="quick.1", loss_reduction=Score(0.0, 0.001))
    with pytest.raises(ValueError, match="quick cannot be both trained again and left out"):
        Advice(first, second, 0.01)
    assert advise([first, second]) == Advice(None, second, 0.005)
    other = replace(second, member="knn", minutes=2.0)
    assert advise([first, other]) == Advice(first, other, 0.005)


def test_of_two_models_with_the_same_errors_only_the_more_expensive_one_is_left_out(rows):
    labels, held_out, constant, _, duplicate = rows
    members = [replace(constant, seconds=30), duplicate]
    full_blend = blend(members, labels, held_out, "log-linear")
    advice = advise(measure_contributions(BlendSearch(members, labels, held_out), full_blend))
    assert advice.leave_out and advice.leave_out.member == "mlp.1" and advice.another_seed is None


def test_without_test_rows_no_gain_of_another_seed_is_estimated(rows):
    labels, held_out, *members = rows
    untested = [replace(member, test=member.test[:, :0]) for member in members]
    contributions = contributions_by_member((labels, held_out), *untested)
    assert {member.expected_gain_of_new_seed for member in contributions.values()} == {None}
    assert advise(list(contributions.values())).another_seed is None
    assert set(estimate_gains(untested, [Member.parse("mlp.2")], labels, held_out).values()) == {0.0}


def test_the_advice_does_not_depend_on_the_unit_of_the_loss():
    seed = Contribution("quick", None, Score(0.01, 0.001), 0.5, 0.0005, 1.0, 0.04)
    other = replace(seed, member="knn", expected_gain_of_new_seed=0.0)
    in_other_units = [
        replace(
            member,
            loss_reduction=Score(1e4 * member.loss_reduction.value, 1e4 * member.loss_reduction.standard_error),
            expected_gain_of_new_seed=1e4 * member.expected_gain_of_new_seed,
            blend_loss=1e4 * member.blend_loss,
        )
        for member in (seed, other)
    ]
    assert advise([seed, other]).another_seed and advise(in_other_units).another_seed
    worthless = [replace(member, blend_loss=100 * member.blend_loss) for member in in_other_units]
    assert advise(worthless).another_seed is None
