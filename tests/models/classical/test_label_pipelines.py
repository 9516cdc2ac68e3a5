import numpy as np
import pytest

from competition.models.classical.features import Hog
from competition.models.interface import Target
from competition.models.member import Member


@pytest.mark.parametrize("name", ["svm", "linear"])
def test_the_features_are_computed_once_for_all_labels(name, monkeypatch):
    random, spec = np.random.default_rng(0), Member.parse(name).spec
    labels = (random.random((80, 3)) < 0.4).astype(np.uint8)
    images = random.integers(0, 90, (80, 12, 12, 1), dtype=np.uint8)
    for label in range(3):
        images[labels[:, label] == 1, 1 + 4 * label : 3 + 4 * label, 2:10] = 220
    rows, transform = [], Hog.transform

    def record(self, pictures):
        rows.append(len(pictures))
        return transform(self, pictures)

    monkeypatch.setattr(Hog, "transform", record)
    model = spec.build(spec.recipe, 0, images.shape[1:], Target("labels", 3))
    model.fit(images, labels, lambda epoch: None)
    assert rows == [80] * (1 + spec.recipe.n_copies)
    predicted = model.predict_proba(images)
    assert rows[-1] == 80 and len(rows) == 2 + spec.recipe.n_copies
    assert ((predicted > 0.5) == labels).mean() > 0.9
