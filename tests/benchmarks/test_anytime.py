from xml.etree import ElementTree

import pytest

from benchmarks.anytime import Curve, Submission, draw, record_curve, run_submit
from competition.errors import UserError

LINES = [
    "svm fold 4 took 0:11; svm scores 99.502 ± 0.034 % so far; time left 2:38\n",
    "submissions/submission.csv now blends svm (mean): 99.502 ± 0.034 % out of fold\n",
    "submissions/submission.csv now blends svm, knn (log-linear): 99.526 ± 0.034 % out of fold\n",
    "submission 1: submissions/digits/001-svm-knn/submission.csv\n",
]


def test_each_submission_that_is_written_is_a_point():
    curve = record_curve(iter(LINES))
    assert [(each.members, each.percent) for each in curve.submissions] == [("svm", 99.502), ("svm, knn", 99.526)]
    assert 0 <= curve.submissions[0].minutes <= curve.submissions[1].minutes <= curve.minutes


def test_the_chart_is_an_svg_file_with_a_dot_for_each_submission():
    old = Curve([Submission(2.0, 99.3, "svm"), Submission(30.0, 99.66, "svm, plain")], 30.5)
    chart = ElementTree.fromstring(draw({"before": old, "a < b": Curve([Submission(1.0, 99.5, "svm")], 5.0)}))
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in chart.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == 3
    assert dots[2][0] < dots[0][0] < dots[1][0] and dots[1][1] < dots[2][1] < dots[0][1]  # sooner, and higher


def test_a_run_without_a_submission_has_no_curve():
    with pytest.raises(UserError, match="no submission was written"):
        record_curve(iter(LINES[:1]))


def test_clones_start_from_the_same_state(tmp_path):
    with pytest.raises(UserError, match="needs an environment and the data; run there: make data COMPETITION=digits"):
        next(run_submit(tmp_path, "digits"))
    for folder in (".venv", "data/digits", "folds/digits/5-folds-seed-0"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match="has a split"):
        next(run_submit(tmp_path, "digits"))
