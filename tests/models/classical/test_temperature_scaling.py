import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from competition.models.classical.temperature_scaling import TemperatureScaling


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("estimator", [LogisticRegression(C=100), KNeighborsClassifier(5)], ids=str)
def test_it_agrees_with_scikit_learn(classes, estimator):
    features, labels = make_classification(
        400, 12, n_informative=6, n_classes=classes, flip_y=0.2, random_state=classes
    )
    ours = TemperatureScaling(estimator).fit(features[:300], labels[:300])
    theirs = CalibratedClassifierCV(estimator, method="temperature", cv=3, ensemble=False)
    theirs.fit(features[:300], labels[:300])
    np.testing.assert_allclose(ours.predict_proba(features[300:]), theirs.predict_proba(features[300:]), atol=1e-3)
    assert (ours.predict(features) == theirs.predict(features)).all()
