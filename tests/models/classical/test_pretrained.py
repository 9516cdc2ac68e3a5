import numpy as np
import pytest

from competition.models.classical.pretrained import MeanOfViews
from competition.models.interface import Target
from competition.models.registry import load_spec

MODELS = ("features-knn", "features-linear", "features-svm")


def make_views(rows: int, mirror_images_differ: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features of two views with independent noise; mirror images have either the same class or the other one."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    signs = np.stack([labels, 1 - labels if mirror_images_differ else labels], axis=1)
    features = rng.normal(2, 0.4, (rows, 2, 40))
    features[:, :, :10] += 0.2 * signs[:, :, None]
    return features.clip(0).astype(np.float16), labels


def test_mirror_images_are_used_where_they_keep_the_label():
    for mirror_images_differ, views in ((False, 2), (True, 1)):
        features, labels = make_views(400, mirror_images_differ)
        assert MeanOfViews().fit(features, labels).views_ == views
        for targets in (labels.astype(float), np.eye(2)[labels]):  # a number, or several labels
            assert MeanOfViews().fit(features, targets).views_ == views


def test_the_configuration_decides_about_mirror_images():
    features, labels = make_views(100, mirror_images_differ=True)
    both = MeanOfViews(mirrored=True).fit(features, labels).transform(features)
    np.testing.assert_allclose(both, np.sqrt(features.astype(np.float32).mean(axis=1)), rtol=1e-6)
    plain = MeanOfViews(mirrored=False).fit(features, labels).transform(features)
    np.testing.assert_allclose(plain, np.sqrt(features[:, 0].astype(np.float32)), rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 5])
def test_models_of_features_fit_and_can_be_saved(name, classes, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(150) % classes
    features = rng.random((150, 2, 60)).astype(np.float16)
    features[np.arange(150), :, labels] += 2
    spec = load_spec(name)
    model = spec.build(spec.recipe, 1, features.shape[1:], Target("class", classes)).fit(
        features[:100], labels[:100], lambda epoch: None
    )
    probabilities = model.predict_proba(features)
    assert probabilities.shape == (150, classes) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities[100:].argmax(axis=1) == labels[100:]).mean() > 0.9
    model.save(tmp_path / "model.skops")
    assert (
        spec.load(tmp_path / "model.skops", Target("class", classes)).predict_proba(features) == probabilities
    ).all()
