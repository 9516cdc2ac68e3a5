import numpy as np
import pytest

from competition.scoring.significance import error_correlation, mcnemar_test


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


def test_mcnemar_compares_predictors_that_correct_as_many_rows_as_they_get_newly_wrong():
    labels, (correct, wrong) = np.zeros(4, dtype=int), np.eye(2)
    first, second = np.array([correct, correct, wrong, wrong]), np.array([correct, wrong, correct, wrong])
    result = mcnemar_test(labels, first, second)
    assert (result.corrected, result.newly_wrong, result.p_value) == (1, 1, 1.0)
    better = np.array([correct] * 5 + [wrong])
    assert mcnemar_test(np.zeros(6, dtype=int), np.array([wrong] * 5 + [correct]), better).p_value == pytest.approx(
        0.21875
    )


def test_mcnemar_rarely_finds_a_difference_between_equal_predictors():
    rng = np.random.default_rng(2)
    labels = np.zeros(300, dtype=int)
    significant = 0
    for _ in range(300):
        first, second = (np.eye(2)[(rng.random(300) < 0.1).astype(int)] for _ in range(2))
        significant += mcnemar_test(labels, first, second).is_significant
    assert significant / 300 < 0.08


def test_the_correlation_of_errors_equals_that_of_numpy():
    errors = (np.random.default_rng(0).random((3, 500)) < [[0.1], [0.3], [0.5]]).astype(float)
    errors[2, :250] = errors[1, :250]
    assert error_correlation(errors) == pytest.approx(np.corrcoef(errors))


def test_a_predictor_without_errors_is_uncorrelated():
    correlation = error_correlation(np.array([[0.0, 0, 0, 0], [0, 1, 0, 1]]))
    assert correlation.tolist() == [[0, 0], [0, 1]]
