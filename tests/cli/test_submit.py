"""The commands that cross-validate and submit."""

from types import SimpleNamespace

import numpy as np
import pytest

from competition.cli.submit import _blend_table
from competition.crossval.predictions import Predictions
from competition.ensemble.blend import BlendSearch
from competition.scoring.metrics import ACCURACY


@pytest.mark.parametrize(("sample", "verb"), [("sample_submission.csv", "submitted"), ("", "selected")])
def test_a_blend_is_called_submitted_only_where_there_are_test_rows(sample, verb):
    labels = np.arange(60) % 3
    random = np.random.default_rng(0)
    members = [Predictions(name, random.dirichlet(np.ones(3), 60), np.full((3, 5, 3), 1 / 3), 1.0, "") for name in "ab"]
    search = BlendSearch(members, labels, np.arange(60) % 4)
    layout = SimpleNamespace(sample=sample)
    run = SimpleNamespace(
        competition=SimpleNamespace(kind="class"),
        dataset=SimpleNamespace(labels=labels, layout=layout),
        metric=ACCURACY,
        groups=None,
    )
    assert _blend_table(run, search, search.blend("mean")).caption.startswith(f"{verb}: mean, ")
