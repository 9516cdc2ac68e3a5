import numpy as np
import pytest
from sklearn.svm import SVC

from competition.models.classical.pairwise_svc import PairwiseSVC


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_the_decision_values_are_those_of_scikit_learn(n_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 300)
    features = rng.normal(size=(300, 8)).astype(np.float32)
    features[:, 0] += labels
    expected = SVC(C=5, decision_function_shape="ovo").fit(features, labels).decision_function(features)
    decisions = PairwiseSVC(c=5, sigmoid_slope=3).fit(features, labels).decision_values(features)
    assert np.allclose(decisions, expected.reshape(300, -1), atol=2e-3)
