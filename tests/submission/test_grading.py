from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from competition.errors import UserError
from competition.scoring.metrics import ACCURACY, CustomMetric
from competition.submission.grading import grade


@pytest.fixture
def answers(competition_copy):
    return pd.read_csv(competition_copy / "held_back" / "labels.csv")


def test_errors_are_counted_by_class(competition_copy, answers, tmp_path):
    wrong = answers.copy()
    wrong.loc[:9, "Label"] = (wrong.loc[:9, "Label"] + 1) % 10
    wrong.to_csv(tmp_path / "submission.csv", index=False)
    result = grade(tmp_path / "submission.csv", competition_copy, ACCURACY)
    assert (result.wrong, result.rows, result.accuracy.value) == (10, 200, 0.95)
    assert result.accuracy.standard_error == pytest.approx(np.sqrt(0.95 * 0.05 / 200))
    assert sum(wrong for _, _, wrong in result.by_class) == 10
    assert [rows for _, rows, _ in result.by_class] == list(np.bincount(answers["Label"]))


def test_each_evaluation_is_recorded(competition_copy, answers, tmp_path):
    answers.to_csv(tmp_path / "submission.csv", index=False)
    assert [grade(tmp_path / "submission.csv", competition_copy, ACCURACY).evaluations for _ in range(3)] == [1, 2, 3]
    record = (competition_copy / "held_back" / "evaluations.csv").read_text().splitlines()
    assert len(record) == 4 and all("submission.csv" in line and "1.000000" in line for line in record[1:])


def test_an_evaluation_is_recorded_even_if_the_custom_metric_fails(competition_copy, answers, tmp_path):
    answers.to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(UserError, match="custom metric mine raised"):
        grade(tmp_path / "submission.csv", competition_copy, CustomMetric("mine", lambda labels, probabilities: 1 / 0))
    assert len((competition_copy / "held_back" / "evaluations.csv").read_text().splitlines()) == 2


def test_an_invalid_submission_is_not_recorded(competition_copy, answers, tmp_path):
    answers.iloc[1:].to_csv(tmp_path / "submission.csv", index=False)
    with pytest.raises(UserError, match="has 199 rows"):
        grade(tmp_path / "submission.csv", competition_copy, ACCURACY)
    assert not (competition_copy / "held_back" / "evaluations.csv").exists()


def test_a_competition_without_held_back_labels_cannot_be_graded(competition_copy, tmp_path):
    (competition_copy / "held_back" / "labels.csv").unlink()
    with pytest.raises(UserError, match="only Kaggle can grade it: run `make upload COMPETITION="):
        grade(tmp_path / "submission.csv", competition_copy, ACCURACY)
    with pytest.raises(UserError, match="nothing is missing; run `make submit COMPETITION=nothing`"):
        grade(tmp_path / "submission.csv", competition_copy.parent / "nothing", ACCURACY)


def test_evaluations_at_once_are_all_recorded(competition_copy, answers, tmp_path):
    answers.to_csv(tmp_path / "submission.csv", index=False)
    with ThreadPoolExecutor(4) as pool:
        grades = pool.map(lambda _: grade(tmp_path / "submission.csv", competition_copy, ACCURACY), range(8))
        assert sorted(result.evaluations for result in grades) == list(range(1, 9))
    assert len(pd.read_csv(competition_copy / "held_back" / "evaluations.csv")) == 8
