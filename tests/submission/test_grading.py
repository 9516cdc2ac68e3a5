import numpy as np
import pandas as pd
import pytest

from competition.errors import Problem
from competition.scoring.metrics import ACCURACY, OfAll
from competition.submission.grading import grade


@pytest.fixture
def answers(own_competition):
    return pd.read_csv(own_competition / "sealed" / "answers.csv")


def test_a_grade_counts_what_is_wrong_class_by_class(own_competition, answers, tmp_path):
    wrong = answers.copy()
    wrong.loc[:9, "Label"] = (wrong.loc[:9, "Label"] + 1) % 10
    wrong.to_csv(tmp_path / "submission.csv", index=False)
    result = grade(tmp_path / "submission.csv", own_competition, ACCURACY)
    assert (result.wrong, result.rows, result.accuracy.value) == (10, 200, 0.95)
    assert result.accuracy.standard_error == pytest.approx(np.sqrt(0.95 * 0.05 / 200))
    assert sum(wrong for _, _, wrong in result.by_class) == 10
    assert [rows for _, rows, _ in result.by_class] == list(np.bincount(answers["Label"]))


def test_each_opening_goes_on_record(own_competition, answers, tmp_path):
    answers.to_csv(tmp_path / "submission.csv", index=False)
    assert [grade(tmp_path / "submission.csv", own_competition, ACCURACY).openings for _ in range(3)] == [1, 2, 3]
    record = (own_competition / "sealed" / "openings.csv").read_text().splitlines()
    assert len(record) == 4 and all("submission.csv" in line and "1.000000" in line for line in record[1:])


def test_whatever_a_metric_of_ones_own_does_with_the_answers_is_on_record(own_competition, answers, tmp_path):
    answers.to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(Problem, match="the metric mine failed"):
        grade(tmp_path / "submission.csv", own_competition, OfAll("mine", lambda labels, said: 1 / 0))
    assert len((own_competition / "sealed" / "openings.csv").read_text().splitlines()) == 2


def test_a_broken_submission_opens_nothing_on_record(own_competition, answers, tmp_path):
    answers.iloc[1:].to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(Problem, match="has 199 rows"):
        grade(tmp_path / "submission.csv", own_competition, ACCURACY)
    assert not (own_competition / "sealed" / "openings.csv").exists()


def test_a_competition_without_answers_is_kaggles_to_grade(own_competition, tmp_path):
    (own_competition / "sealed" / "answers.csv").unlink()
    with pytest.raises(Problem, match="only Kaggle can grade it"):
        grade(tmp_path / "submission.csv", own_competition, ACCURACY)
    with pytest.raises(Problem, match="nothing is missing; run `make submit COMPETITION=nothing`"):
        grade(tmp_path / "submission.csv", own_competition.parent / "nothing", ACCURACY)
