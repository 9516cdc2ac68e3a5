import itertools
import time

import numpy as np
import pytest

from benchmarks.qwk_decisions import FREQUENCIES, simulate_grades
from competition.scoring import decisions
from competition.scoring.calibration import Calibration
from competition.scoring.decisions import best_f1, expected_sample_f1, fit_decision, may_prefer_other_labels
from competition.scoring.metrics import find_metric
from competition.scoring.temperature import apply_temperature

LABEL_FREQUENCIES = np.array([0.05, 0.1, 0.3, 0.5, 0.02, 0.15])


def simulate(rows, seed, **options):
    return simulate_grades(rows, np.random.default_rng(seed), **options)


def simulate_sets(rows, seed, allow_empty=True):
    """Sets of labels and the probability of each, given a noisy measurement."""
    rng, shape = np.random.default_rng(seed), (rows, len(LABEL_FREQUENCIES))
    labels = (rng.random(shape) < LABEL_FREQUENCIES).astype(np.uint8)
    if not allow_empty:
        labels[~labels.any(axis=1), 3] = 1
    measured = 1.5 * labels + rng.normal(size=shape)
    present = LABEL_FREQUENCIES * np.exp(-((measured - 1.5) ** 2) / 2)
    absent = (1 - LABEL_FREQUENCIES) * np.exp(-(measured**2) / 2)
    return labels, present / (present + absent)


@pytest.mark.parametrize(("name", "gain"), [("QWK", 0.03), ("macro F1", 0.03), ("macro recall", 0.04)])
def test_decisions_score_higher_than_the_most_probable_classes_on_other_rows(name, gain):
    metric, (labels, probabilities) = find_metric(name), simulate(2_000, 0)
    decision = fit_decision(metric, probabilities, labels)
    other_labels, other = simulate(4_000, 1)
    chosen = decision.decide(other)
    assert (chosen.sum(axis=1) == 1).all()
    assert metric.score(other_labels, chosen).value > metric.score(other_labels, other).value + gain


@pytest.mark.parametrize(("name", "gain"), [("micro F1", 0.02), ("macro F1", 0.08), ("sample F1", 0.01)])
def test_decisions_score_higher_than_labels_that_are_more_probable_than_not(name, gain):
    metric, (labels, probabilities) = find_metric(name), simulate_sets(2_000, 0)
    other_labels, other = simulate_sets(4_000, 1)
    chosen = fit_decision(metric, probabilities, labels).decide(other)
    assert metric.score(other_labels, chosen).value > metric.score(other_labels, other).value + gain


@pytest.mark.parametrize("name", ["QWK", "macro F1", "macro recall"])
def test_the_most_probable_classes_are_kept_if_they_score_no_lower(name):
    labels, _ = simulate(2_000, 0, frequencies=np.full(5, 0.2))
    probabilities = np.where(np.eye(5)[labels] == 1, 0.96, 0.01)
    assert fit_decision(find_metric(name), probabilities, labels) is None


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
@pytest.mark.parametrize("name", ["QWK", "macro F1"])
def test_overconfident_and_underconfident_probabilities_are_calibrated_first(name, sharpness):
    labels, probabilities = simulate(2_000, 0)
    changed = apply_temperature(probabilities, sharpness)
    first, second = (
        fit_decision(find_metric(name), each, labels).decide(each).argmax(axis=1) for each in (probabilities, changed)
    )
    assert (first == second).mean() > 0.98


@pytest.mark.parametrize("name", ["QWK", "macro F1", "macro recall"])
def test_labels_serve_only_to_calibrate_the_probabilities(name, monkeypatch):
    labels, probabilities = simulate(500, 0)
    monkeypatch.setattr(decisions, "fit_calibration", lambda *_: Calibration(1.0, np.zeros(5), False))
    others = np.concatenate([labels[:50][::-1], labels[50:]])
    first, second = (fit_decision(find_metric(name), probabilities, each) for each in (labels, others))
    assert (first.gains == second.gains).all() and not (first.gains == np.eye(5)).all()


def test_the_threshold_of_the_best_f1_is_half_of_it():
    _, probabilities = simulate_sets(3_000, 0)
    total, best = probabilities.sum(axis=0), best_f1(probabilities)
    thresholds = np.linspace(0, 1, 1001)
    for label, column in enumerate(probabilities.T):
        scores = [2 * column[column >= each].sum() / ((column >= each).sum() + total[label]) for each in thresholds]
        assert max(scores) == pytest.approx(best[label], abs=1e-4)
        assert scores[round(500 * best[label])] == pytest.approx(best[label], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "allow_empty"),
    [("micro F1", True), ("macro F1", True), ("macro F1", False), ("sample F1", True), ("sample F1", False)],
)
def test_empty_sets_are_predicted_only_where_there_are_some(name, allow_empty):
    labels, probabilities = simulate_sets(4_000, 0, allow_empty)
    chosen = fit_decision(find_metric(name), probabilities, labels).decide(probabilities)
    assert set(np.unique(chosen)) == {0, 1} and chosen.any(axis=1).all() == (not allow_empty)


def test_the_most_probable_labels_are_best_for_other_metrics():
    labels, probabilities = simulate(100, 0)
    for name in ("accuracy", "log loss", "AUC", "micro F1", "MAP@3"):
        assert fit_decision(find_metric(name), probabilities, labels) is None
    sets, probabilities = simulate_sets(100, 0)
    for name in ("accuracy", "log loss", "mean column AUC", "macro recall"):
        assert fit_decision(find_metric(name), probabilities, sets) is None
    assert not may_prefer_other_labels(find_metric("RMSE"), np.array([0.5, 1.5]))


@pytest.mark.parametrize("separation", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("name", ["macro F1", "macro recall"])
def test_a_class_that_hardly_ever_occurs_is_not_predicted(name, separation):
    frequencies, metric, gains = np.array([0.5, 0.25, 0.15, 0.07, 0.03]), find_metric(name), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels = rng.choice(5, size=6_000, p=frequencies)
        measured = rng.normal(size=(6_000, 5)) + separation * np.eye(5)[labels]
        probabilities = frequencies * np.exp(separation * measured)
        probabilities = 0.99999 * probabilities / probabilities.sum(axis=1, keepdims=True)
        probabilities = np.column_stack([probabilities, np.full(6_000, 1e-5)])
        labels[:2] = 5
        fitted, other = slice(2_000), slice(2_000, None)
        if decision := fit_decision(metric, probabilities[fitted], labels[fitted]):
            chosen = decision.decide(probabilities[other])
            assert not chosen[:, 5].any()
            scores = (metric.score(labels[other], each).value for each in (chosen, probabilities[other]))
            gains.append(np.subtract(*scores))
    assert np.mean(gains) > -0.003


def test_a_label_that_hardly_ever_occurs_is_not_predicted():
    metric, gains = find_metric("macro F1"), []
    for seed in range(5):
        labels, probabilities = simulate_sets(4_000, seed)
        rng = np.random.default_rng(seed)
        labels = np.column_stack([labels, np.zeros(4_000, dtype=np.uint8)])
        labels[:2, -1] = 1
        probabilities = np.column_stack([probabilities, rng.uniform(0, 0.004, 4_000)])
        fitted, other = slice(2_000), slice(2_000, None)
        chosen = fit_decision(metric, probabilities[fitted], labels[fitted]).decide(probabilities[other])
        assert not chosen[:, -1].any()
        scores = (metric.score(labels[other], each).value for each in (chosen, probabilities[other]))
        gains.append(np.subtract(*scores))
    assert min(gains) > 0.05


def test_repeated_rows_of_groups_do_not_make_a_choice_clearly_better():
    metric, decisions = find_metric("macro F1"), []
    for seed in range(20):
        labels, probabilities = simulate(60, seed)
        rows = np.repeat(np.arange(60), 20)
        decisions.append(
            [fit_decision(metric, probabilities[rows], labels[rows], groups) is not None for groups in (None, rows)]
        )
    ungrouped, grouped = np.sum(decisions, axis=0)
    assert grouped < ungrouped


def test_the_expected_f1_of_a_set_is_that_of_all_sets_of_true_labels():
    probabilities = np.sort(np.random.default_rng(0).random((20, 4)))[:, ::-1]
    sets = np.array(list(itertools.product([0, 1], repeat=4)))
    for row, scores in zip(probabilities, expected_sample_f1(probabilities), strict=True):
        likelihood = np.where(sets == 1, row, 1 - row).prod(axis=1)
        for size in range(5):
            chosen = np.tile(np.arange(4) < size, (len(sets), 1)).astype(float)
            f1 = find_metric("sample F1").row_scores(sets, chosen) if size else (sets.sum(axis=1) == 0)
            assert scores[size] == pytest.approx(likelihood @ f1)


def test_certain_probabilities_give_no_warnings():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 3)) < [0.1, 0.5, 0.3]).astype(np.uint8)
    probabilities = np.where(labels == 1, 1.0, 0.0)
    probabilities[:20] = rng.random((20, 3))
    for name in ("micro F1", "macro F1", "sample F1"):
        if decision := fit_decision(find_metric(name), probabilities, labels):
            assert np.isfinite(decision.decide(probabilities)).all()


def test_many_classes_take_seconds():
    rng = np.random.default_rng(0)
    frequencies = rng.dirichlet(np.ones(100))
    labels = rng.choice(100, size=20_000, p=frequencies)
    probabilities = frequencies * np.exp(rng.normal(size=(20_000, 100)) + 2 * np.eye(100)[labels])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    start = time.process_time()
    assert fit_decision(find_metric("macro F1"), probabilities, labels)
    assert time.process_time() - start < 20


@pytest.mark.parametrize("name", ["QWK", "macro F1", "macro recall"])
def test_scores_are_the_same_where_models_exaggerate_rare_classes(name):
    metric, (labels, probabilities) = find_metric(name), simulate(2_000, 0)
    other_labels, other = simulate(4_000, 1)
    exaggerated = [each / FREQUENCIES for each in (probabilities, other)]
    exaggerated = [each / each.sum(axis=1, keepdims=True) for each in exaggerated]
    decision = fit_decision(metric, exaggerated[0], labels)
    chosen = decision.decide(exaggerated[1]) if decision else exaggerated[1]
    expected = fit_decision(metric, probabilities, labels).decide(other)
    assert metric.score(other_labels, chosen).value == pytest.approx(
        metric.score(other_labels, expected).value, abs=0.01
    )
