import numpy as np
import pytest
from sklearn import metrics

from competition.errors import UserError
from competition.scoring.metrics import METRICS, CustomMetric, accuracy, find_metric, log_loss
from competition.scoring.score import Score, format_percent, format_score
from competition.scoring.significance import mcnemar_test


@pytest.fixture
def predicted():
    random = np.random.default_rng(0)
    return random.integers(0, 3, 500), random.dirichlet(np.ones(3), 500)


def test_scores_are_those_of_scikit_learn(predicted):
    labels, probabilities = predicted
    assert accuracy(labels, probabilities).value == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert log_loss(labels, probabilities).value == pytest.approx(metrics.log_loss(labels, probabilities))


def test_the_standard_error_is_how_far_the_score_moves_on_other_rows():
    random = np.random.default_rng(1)
    right = random.random((2_000, 400)) < 0.9
    scores = [Score.from_rows(rows) for rows in right]
    spread = np.std([score.value for score in scores])
    assert np.mean([score.standard_error for score in scores]) == pytest.approx(spread, rel=0.1)


def test_a_sure_mistake_costs_much_and_not_infinitely_much():
    assert 10 < log_loss(np.array([1]), np.array([[1.0, 0.0]])).value < 20


def test_mcnemar_counts_rows_and_calls_noise_noise():
    labels = np.zeros(100, dtype=int)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    first = np.array([right] * 80 + [wrong] * 20)
    better = np.array([right] * 79 + [wrong] + [right] * 15 + [wrong] * 5)
    alike = np.array([right] * 77 + [wrong] * 3 + [right] * 4 + [wrong] * 16)
    compared = mcnemar_test(labels, first, better)
    assert (compared.corrected, compared.newly_wrong) == (15, 1) and compared.is_significant
    assert not mcnemar_test(labels, first, alike).is_significant
    assert mcnemar_test(labels, first, first).p_value == 1


def test_mcnemar_cries_news_on_equals_in_one_of_twenty_at_most():
    random = np.random.default_rng(2)
    labels = np.zeros(300, dtype=int)
    news = 0
    for _ in range(300):
        first, second = (np.eye(2)[(random.random(300) < 0.1).astype(int)] for _ in range(2))
        news += mcnemar_test(labels, first, second).is_significant
    assert news / 300 < 0.08


def test_a_score_is_never_told_without_its_error():
    assert format_percent(Score(0.99612, 0.0003)) == "99.612 ± 0.030 %"
    assert format_score(Score(0.0151, 0.0012)) == "0.0151 ± 0.0012"


def test_figures_of_counts_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 3_000)
    probabilities = random.dirichlet(np.ones(5), 3_000) + 0.3 * np.eye(5)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    taken = probabilities.argmax(axis=1)
    f1, kappa = (find_metric(name).score(labels, probabilities) for name in ("macro F1", "QWK"))
    assert f1.value == pytest.approx(metrics.f1_score(labels, taken, average="macro"))
    assert kappa.value == pytest.approx(metrics.cohen_kappa_score(labels, taken, weights="quadratic"))


@pytest.mark.parametrize("name", ["accuracy", "log loss", "Log-Loss", "macro_f1", "QWK", "qwk", "statistics:mean"])
def test_a_metric_is_found_by_the_name_it_tells(name):
    assert find_metric(find_metric(name).name) == find_metric(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dice", "no metric 'dice'; there are accuracy, log loss, AUC, macro F1, QWK, and your own: module:function"),
        ("nowhere:figure", "the metric nowhere:figure cannot be had, ModuleNotFoundError: No module named 'nowhere'"),
        ("statistics:figure", "cannot be had, AttributeError: module 'statistics' has no attribute 'figure'"),
        (":figure", "cannot be had"),
    ],
)
def test_a_metric_that_is_not_there_is_named(name, message):
    with pytest.raises(UserError, match=message):
        find_metric(name)


def test_a_class_that_is_neither_there_nor_taken_has_no_part_in_macro_f1():
    labels = np.array([0, 0, 1, 1])
    assert find_metric("macro F1").score(labels, np.eye(3)[labels]).value == 1


def test_kappa_wants_classes_in_a_row():
    find_metric("QWK").check_classes(np.arange(5))
    for classes in (np.array(["high", "low"]), np.array([0, 1, 3])):
        with pytest.raises(UserError, match="QWK counts steps between classes 0, 1, 2"):
            find_metric("QWK").check_classes(classes)


def test_rows_drawn_again_without_a_rare_class_do_not_end_it():
    labels = np.arange(300) % 3 * (np.arange(300) < 9)  # three of class 1 and of class 2

    def of_all_classes(labels, said):
        assert len(set(labels)) == 3
        return float(said[np.arange(len(labels)), labels].mean())

    score = CustomMetric("mine", of_all_classes).score(labels, np.random.default_rng(0).dirichlet(np.ones(3), 300))
    assert score.value > 0 and score.standard_error > 0


def test_a_metric_of_ones_own_that_fails_says_so():
    labels, said = np.array([0, 1]), np.eye(2)
    with pytest.raises(UserError, match="the metric mine failed, ZeroDivisionError: "):
        CustomMetric("mine", lambda labels, said: 1 / 0).score(labels, said)
    with pytest.raises(UserError, match="the metric mine gave nan; a number was expected"):
        CustomMetric("mine", lambda labels, said: np.nan).score(labels, said)


def test_the_error_of_a_figure_is_how_far_it_moves_on_other_rows():
    random = np.random.default_rng(0)

    def scored(metric):
        labels = random.integers(0, 4, 1_000)
        return metric.score(labels, (random.dirichlet(np.ones(4), 1_000) + 0.4 * np.eye(4)[labels]) / 1.4)

    foreign = CustomMetric("mine:share", lambda labels, said: float((said.argmax(axis=1) == labels).mean()))
    for metric in (*METRICS, foreign):
        scores = [scored(metric) for _ in range(60)]
        moved = np.std([score.value for score in scores])
        assert np.mean([score.standard_error for score in scores]) == pytest.approx(moved, rel=0.35), metric.name
