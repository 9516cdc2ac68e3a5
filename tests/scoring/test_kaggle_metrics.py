import pandas as pd
import pytest

from competition.scoring.kaggle_metrics import KAGGLE_METRICS, has_fractions, infer_metric
from competition.scoring.metrics import find_metric


def test_only_fractions_are_treated_as_probabilities():
    assert has_fractions(pd.DataFrame({"a": ["0", "1"], "b": ["0.5", "x"]}))
    assert not has_fractions(pd.DataFrame({"a": ["0", "1.0"], "b": ["healthy", ""]}))
    assert not has_fractions(pd.DataFrame({"a": ["-1", "2"]}))


@pytest.mark.parametrize(
    ("kind", "columns", "has_fractions", "metric"),
    [
        ("number", 1, True, "RMSE"),
        ("number", 2, False, "RMSE"),
        ("labels", 2, False, "mean column AUC"),
        ("labels", 1, True, "sample F1"),
        ("class", 2, False, "log loss"),
        ("class", 1, True, "AUC"),
        ("class", 1, False, "accuracy"),
    ],
)
def test_the_usual_metric_follows_from_the_sample_submission(kind, columns, has_fractions, metric):
    assert infer_metric("any", kind, columns, has_fractions) == metric
    assert kind in find_metric(metric).kinds


def test_known_competitions_have_their_own_metric():
    assert infer_metric("aptos2019-blindness-detection", "class", 1, has_fractions=False) == "QWK"
    assert {find_metric(name).name for name in KAGGLE_METRICS.values()} == set(KAGGLE_METRICS.values())
