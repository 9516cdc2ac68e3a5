import numpy as np
import pytest
from sklearn import metrics

from competition.metrics import Score, accuracy, log_loss, mcnemar, percent, plain


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
    scores = [Score.of(rows) for rows in right]
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
    compared = mcnemar(labels, first, better)
    assert (compared.fixed, compared.broken) == (15, 1) and compared.is_news
    assert not mcnemar(labels, first, alike).is_news
    assert mcnemar(labels, first, first).p_value == 1


def test_mcnemar_cries_news_on_equals_in_one_of_twenty_at_most():
    random = np.random.default_rng(2)
    labels = np.zeros(300, dtype=int)
    news = 0
    for _ in range(300):
        first, second = (np.eye(2)[(random.random(300) < 0.1).astype(int)] for _ in range(2))
        news += mcnemar(labels, first, second).is_news
    assert news / 300 < 0.08


def test_a_score_is_never_told_without_its_error():
    assert percent(Score(0.99612, 0.0003)) == "99.612 ± 0.030 %"
    assert plain(Score(0.0151, 0.0012)) == "0.0151 ± 0.0012"
