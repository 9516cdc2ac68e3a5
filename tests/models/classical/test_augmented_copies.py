import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from competition.models.classical.augmented_copies import WithCopies, changed


@pytest.fixture
def blobs():
    y, x = np.mgrid[:21, :21]
    blob = 250 * np.exp(-((y - 10) ** 2 + (x - 14) ** 2) / 6)
    return np.repeat(blob.astype(np.uint8)[None, :, :, None], 100, axis=0)


def centre(images):
    y, x = np.mgrid[:21, :21] - 10
    mass = images.sum(axis=(1, 2, 3))
    return (images[..., 0] * y).sum(axis=(1, 2)) / mass, (images[..., 0] * x).sum(axis=(1, 2)) / mass


def test_nothing_to_change_changes_nothing(blobs):
    assert (changed(blobs, np.random.default_rng(0), 0, 0) == blobs).all()


def test_copies_turn_about_the_centre_within_their_range_and_fill_it(blobs):
    y, x = centre(changed(blobs, np.random.default_rng(0), 20, 0))
    turned = np.degrees(np.arctan2(y, x))
    assert np.allclose(np.hypot(y, x), 4, atol=0.15)
    assert 16 < turned.max() < 20.5 and -20.5 < turned.min() < -16


def test_copies_stretch_within_their_range(blobs):
    _, x = centre(changed(blobs, np.random.default_rng(0), 0, 0.2))
    assert 3.2 < x.min() < 3.5 and 4.6 < x.max() < 5.1


def test_channels_stay_apart_and_bytes_stay_bytes(blobs):
    two = np.concatenate([blobs, np.zeros_like(blobs)], axis=3)
    copies = changed(two, np.random.default_rng(1), 10, 0.1)
    assert copies.dtype == np.uint8 and copies[..., 0].any() and not copies[..., 1].any()


class Remembers(ClassifierMixin, BaseEstimator):
    """Keeps what it was fitted on."""

    def fit(self, images, labels):
        self.images_, self.labels_, self.classes_ = images, labels, np.unique(labels)
        return self


def test_a_classifier_with_copies_sees_each_label_as_often_and_its_own_rows_first(blobs):
    labels = np.arange(100) % 3
    fitted = WithCopies(Remembers(), 2, 10, 0.1, 0).fit(blobs, labels).fitted_
    assert fitted.labels_.tolist() == labels.tolist() * 3
    assert (fitted.images_[:100] == blobs).all() and (fitted.images_[100:200] != fitted.images_[200:]).any()
