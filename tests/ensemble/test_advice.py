from dataclasses import replace

import numpy as np
import pytest

from competition.crossval.predictions import Predictions
from competition.ensemble.advice import estimate_savings, mean_saving, measure_contributions
from competition.ensemble.blend import blend
from competition.models.member import Member

ROWS, CLASSES, FOLDS = 4_000, 4, 4


def said(labels, random, common=0.0, skill=1.5):
    """Calibrated probabilities, the error being partly `common`, which is the same for all who share it."""
    logits = random.normal(size=(len(labels), CLASSES)) if np.isscalar(common) else common
    logits = logits.copy()
    logits[np.arange(len(labels)), labels] += skill
    powers = np.exp(skill * logits)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    labels, test_labels = random.integers(0, CLASSES, ROWS), random.integers(0, CLASSES, ROWS)
    noise = random.normal(size=(ROWS, CLASSES))
    still = Predictions(
        "still", said(labels, random, noise), np.stack([said(test_labels, random, noise)] * FOLDS), 60, ""
    )
    restless = [said(test_labels, random) for _ in range(FOLDS)]
    other = Predictions("restless", said(labels, random), np.stack(restless), 120, "")
    copy = Predictions("copy", still.oof, still.test, 60, "")
    return labels, np.arange(ROWS) % FOLDS, still, other, copy


def helped(rows, *members):
    labels, held_out = rows[:2]
    whole = blend(members, labels, held_out, "convex")
    return {one.member: one for one in measure_contributions(members, whole, labels, held_out)}


def test_a_member_that_errs_elsewhere_helps_and_a_copy_does_not(rows):
    _, _, still, restless, copy = rows
    found = helped(rows, still, restless, copy)
    assert found["restless"].log_loss.value > 5 * found["restless"].log_loss.standard_error > 0
    assert abs(found["copy"].log_loss.value) < 1e-3 and abs(found["copy"].accuracy.value) < 2e-3
    assert found["copy"].correlation > 0.4 > 0.2 > found["restless"].correlation


def test_a_twin_of_what_varies_from_fold_to_fold_promises_more(rows):
    _, _, still, restless, _ = rows
    found = helped(rows, still, restless)
    assert found["still"].another_seed == pytest.approx(0, abs=1e-9) and found["restless"].another_seed > 0.002
    assert (found["still"].minutes, found["restless"].minutes) == (1, 2)


def test_a_candidate_is_expected_to_save_what_its_twin_would_or_what_others_do(rows):
    labels, held_out, still, restless, _ = rows
    members = [replace(still, member="knn"), replace(restless, member="svm")]
    candidates = [Member.parse(name) for name in ("knn.1", "svm.1", "quick", "svm.2", "quick.1")]
    found = {member.name: value for member, value in estimate_savings(members, candidates, labels, held_out).items()}
    helping = {
        one.member: one
        for one in measure_contributions(members, blend(members, labels, held_out, "convex"), labels, held_out)
    }
    assert (
        found["knn.1"] == pytest.approx(0, abs=1e-9) and found["svm.1"] == found["svm.2"] == helping["svm"].another_seed
    )
    assert found["quick"] == mean_saving(list(helping.values())) > found["svm.1"]
    assert found["quick.1"] == 0


def test_a_first_member_leaves_an_unlike_one_the_most_to_gain(rows):
    labels, held_out, still, _, _ = rows
    (gain,) = estimate_savings([replace(still, member="knn")], [Member.parse("svm")], labels, held_out).values()
    assert 0 < gain < blend([still], labels, held_out, "convex").log_loss.value
