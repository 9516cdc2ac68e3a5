import numpy as np
import pytest
from sklearn.svm import SVC

from competition.models.classical import pairwise_svc
from competition.models.classical.pairwise_svc import PairwiseSVC


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_the_decision_values_are_those_of_scikit_learn(n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 300)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    features[:, 0] += labels
    expected = SVC(C=5, decision_function_shape="ovo").fit(features, labels).decision_function(features)
    model = PairwiseSVC(c=5, sigmoid_slope=3).fit(features, labels)
    decisions = model._decide(model._kernel(features))
    pairs = decisions[:, *np.triu_indices(n_classes, 1)]
    assert np.allclose(pairs, expected.reshape(300, -1), atol=2e-3)
    assert (decisions == -decisions.transpose(0, 2, 1)).all()


def test_the_probabilities_do_not_depend_on_the_batches(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 300)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    features[:, 0] += labels
    model = PairwiseSVC(c=5, sigmoid_slope=3).fit(features, labels)
    expected = model.predict_proba(features)
    monkeypatch.setattr(pairwise_svc, "ROWS_PER_BATCH", 70)
    monkeypatch.setattr(pairwise_svc, "BATCH_VALUES", 400)
    assert np.allclose(model.predict_proba(features), expected, atol=1e-3)
    assert np.allclose(expected.sum(axis=1), 1) and (expected.argmax(axis=1) == labels).mean() > 0.5
