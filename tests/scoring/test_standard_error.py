import numpy as np
import pytest

from competition.scoring.standard_error import Score, expected_score, format_percent, format_score, repeated_groups


def test_the_standard_error_is_the_standard_deviation_over_samples():
    correct = np.random.default_rng(1).random((2_000, 400)) < 0.9
    scores = [Score.from_rows(sample) for sample in correct]
    deviation = np.std([score.value for score in scores])
    assert np.mean([score.standard_error for score in scores]) == pytest.approx(deviation, rel=0.1)


def test_the_delta_method_of_a_quotient_of_means_equals_the_formula():
    rows = np.random.default_rng(0).uniform([1, 2], [2, 3], (4_000, 2))
    score = Score.from_means(rows, lambda means: float(means[0] / means[1]))
    ratio = rows[:, 0].mean() / rows[:, 1].mean()
    expected = np.std((rows[:, 0] - ratio * rows[:, 1]) / rows[:, 1].mean()) / np.sqrt(4_000)
    assert score.value == pytest.approx(ratio) and score.standard_error == pytest.approx(expected, rel=1e-4)


def test_means_of_single_precision_are_summed_in_double_precision():
    rows = np.full((3_000_000, 1), 0.1, dtype=np.float32)
    assert Score.from_means(rows, lambda means: float(means[0])).value == pytest.approx(np.float32(0.1), rel=1e-7)


def test_a_mean_of_0_has_no_part_in_the_standard_error():
    rows = np.column_stack([np.zeros(100), np.arange(100) % 2])
    score = Score.from_means(rows, lambda means: float(means[1] + (means[0] > 0)))
    assert score == Score(0.5, pytest.approx(0.05, rel=1e-4))


def test_the_standard_error_of_other_rows_adds_that_of_these_rows():
    assert expected_score(Score(0.9, 0.03), 100, 100) == Score(0.9, pytest.approx(0.03 * np.sqrt(2)))
    assert expected_score(Score(0.9, 0.03), 300, 100).standard_error == pytest.approx(0.06)


def test_groups_are_none_unless_some_have_several_rows():
    assert repeated_groups(np.array(["b", "a", "c"])) is None
    assert repeated_groups(np.array(["b", "a", "b"])).tolist() == [1, 0, 1]


def test_scores_are_formatted_with_their_standard_errors():
    assert format_percent(Score(0.99612, 0.0003)) == "99.612 ± 0.030 %"
    assert format_score(Score(0.0151, 0.0012)) == "0.0151 ± 0.0012"
