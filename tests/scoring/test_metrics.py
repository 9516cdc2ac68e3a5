import numpy as np
import pytest
from sklearn import metrics

from competition.errors import UserError
from competition.scoring.metrics import METRICS, CustomMetric, accuracy, find_metric, log_loss
from competition.scoring.significance import mcnemar_test
from competition.scoring.standard_error import Score, format_percent, format_score


@pytest.fixture
def rows():
    """Random labels and probabilities."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, 500), rng.dirichlet(np.ones(3), 500)


def test_accuracy_and_log_loss_equal_those_of_scikit_learn(rows):
    labels, probabilities = rows
    assert accuracy(labels, probabilities).value == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert log_loss(labels, probabilities).value == pytest.approx(metrics.log_loss(labels, probabilities))


def test_the_standard_error_is_the_standard_deviation_over_samples():
    correct = np.random.default_rng(1).random((2_000, 400)) < 0.9
    scores = [Score.from_rows(sample) for sample in correct]
    deviation = np.std([score.value for score in scores])
    assert np.mean([score.standard_error for score in scores]) == pytest.approx(deviation, rel=0.1)


def test_the_log_loss_of_a_confident_error_is_large_but_finite():
    assert 10 < log_loss(np.array([1]), np.array([[1.0, 0.0]])).value < 20


def test_mcnemar_counts_rows_and_recognizes_noise():
    labels = np.zeros(100, dtype=int)
    correct, wrong = [0.9, 0.1], [0.1, 0.9]
    first = np.array([correct] * 80 + [wrong] * 20)
    better = np.array([correct] * 79 + [wrong] + [correct] * 15 + [wrong] * 5)
    similar = np.array([correct] * 77 + [wrong] * 3 + [correct] * 4 + [wrong] * 16)
    result = mcnemar_test(labels, first, better)
    assert (result.corrected, result.newly_wrong) == (15, 1) and result.is_significant
    assert not mcnemar_test(labels, first, similar).is_significant
    assert mcnemar_test(labels, first, first).p_value == 1


def test_mcnemar_rarely_finds_a_difference_between_equal_predictors():
    rng = np.random.default_rng(2)
    labels = np.zeros(300, dtype=int)
    significant = 0
    for _ in range(300):
        first, second = (np.eye(2)[(rng.random(300) < 0.1).astype(int)] for _ in range(2))
        significant += mcnemar_test(labels, first, second).is_significant
    assert significant / 300 < 0.08


def test_scores_are_formatted_with_their_standard_errors():
    assert format_percent(Score(0.99612, 0.0003)) == "99.612 ± 0.030 %"
    assert format_score(Score(0.0151, 0.0012)) == "0.0151 ± 0.0012"


def test_confusion_matrix_metrics_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 3_000)
    probabilities = rng.dirichlet(np.ones(5), 3_000) + 0.3 * np.eye(5)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    f1, kappa = (find_metric(name).score(labels, probabilities) for name in ("macro F1", "QWK"))
    assert f1.value == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert kappa.value == pytest.approx(metrics.cohen_kappa_score(labels, predicted, weights="quadratic"))


@pytest.mark.parametrize("name", ["accuracy", "log loss", "Log-Loss", "macro_f1", "QWK", "qwk", "statistics:mean"])
def test_a_metric_is_found_by_its_own_name(name):
    assert find_metric(find_metric(name).name) == find_metric(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "dice",
            "unknown metric 'dice'; choose from accuracy, log loss, AUC, macro F1, QWK, or your own as module:function",
        ),
        (
            "nowhere:function",
            "metric nowhere:function cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("statistics:function", "cannot be imported: AttributeError: module 'statistics' has no attribute 'function'"),
        (":function", "cannot be imported"),
    ],
)
def test_the_error_for_an_unknown_metric_names_it(name, message):
    with pytest.raises(UserError, match=message):
        find_metric(name)


def test_macro_f1_ignores_classes_that_neither_occur_nor_are_predicted():
    labels = np.array([0, 0, 1, 1])
    assert find_metric("macro F1").score(labels, np.eye(3)[labels]).value == 1


def test_kappa_requires_consecutive_classes():
    find_metric("QWK").check_classes(np.arange(5))
    for classes in (np.array(["high", "low"]), np.array([0, 1, 3])):
        with pytest.raises(
            UserError,
            match=r"QWK needs consecutive integers as classes, found (high, low|0, 1, 3); choose another metric",
        ):
            find_metric("QWK").check_classes(classes)


def test_bootstrap_samples_without_a_rare_class_are_skipped():
    labels = np.arange(300) % 3 * (np.arange(300) < 9)  # three of class 1 and of class 2

    def label_probability(labels, probabilities):
        assert len(set(labels)) == 3
        return float(probabilities[np.arange(len(labels)), labels].mean())

    score = CustomMetric("mine", label_probability).score(labels, np.random.default_rng(0).dirichlet(np.ones(3), 300))
    assert score.value > 0 and score.standard_error > 0


def test_a_failing_custom_metric_is_named_in_the_error():
    labels, probabilities = np.array([0, 1]), np.eye(2)
    with pytest.raises(UserError, match=r"custom metric mine raised ZeroDivisionError: .*; it must accept"):
        CustomMetric("mine", lambda labels, probabilities: 1 / 0).score(labels, probabilities)
    with pytest.raises(UserError, match=r"custom metric mine returned nan; it must accept .* return a finite number"):
        CustomMetric("mine", lambda labels, probabilities: np.nan).score(labels, probabilities)


@pytest.mark.integration
def test_bootstrapped_standard_errors_are_standard_deviations_over_samples():
    rng = np.random.default_rng(0)

    def score_sample(metric):
        labels = rng.integers(0, 4, 1_000)
        return metric.score(labels, (rng.dirichlet(np.ones(4), 1_000) + 0.4 * np.eye(4)[labels]) / 1.4)

    custom = CustomMetric("mine", lambda labels, probabilities: float((probabilities.argmax(axis=1) == labels).mean()))
    for metric in (*METRICS, custom):
        scores = [score_sample(metric) for _ in range(60)]
        deviation = np.std([score.value for score in scores])
        assert np.mean([score.standard_error for score in scores]) == pytest.approx(deviation, rel=0.35), metric.name
