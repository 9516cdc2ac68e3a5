import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from competition.models.classical.augmented_copies import AugmentedClassifier, augment_images


@pytest.fixture
def blobs():
    """100 copies of a 21x21 image with a blob 4 pixels right of the centre."""
    y, x = np.mgrid[:21, :21]
    blob = 250 * np.exp(-((y - 10) ** 2 + (x - 14) ** 2) / 6)
    return np.repeat(blob.astype(np.uint8)[None, :, :, None], 100, axis=0)


def blob_centres(images):
    """Centre of mass of each image, relative to the image's centre."""
    y, x = np.mgrid[:21, :21] - 10
    mass = images.sum(axis=(1, 2, 3))
    return (images[..., 0] * y).sum(axis=(1, 2)) / mass, (images[..., 0] * x).sum(axis=(1, 2)) / mass


def test_zero_augmentation_changes_nothing(blobs):
    assert (augment_images(blobs, np.random.default_rng(0), 0, 0) == blobs).all()


def test_rotations_are_about_the_centre_and_use_their_full_range(blobs):
    y, x = blob_centres(augment_images(blobs, np.random.default_rng(0), 20, 0))
    degrees = np.degrees(np.arctan2(y, x))
    assert np.allclose(np.hypot(y, x), 4, atol=0.15)
    assert 16 < degrees.max() < 20.5 and -20.5 < degrees.min() < -16


def test_zoom_stays_within_its_range(blobs):
    _, x = blob_centres(augment_images(blobs, np.random.default_rng(0), 0, 0.2))
    assert 3.2 < x.min() < 3.5 and 4.6 < x.max() < 5.1


def test_channels_are_not_mixed_and_the_dtype_is_kept(blobs):
    two_channels = np.concatenate([blobs, np.zeros_like(blobs)], axis=3)
    augmented = augment_images(two_channels, np.random.default_rng(1), 10, 0.1)
    assert augmented.dtype == np.uint8 and augmented[..., 0].any() and not augmented[..., 1].any()


class RecordingClassifier(ClassifierMixin, BaseEstimator):
    """Stores its training data."""

    def fit(self, images, labels):
        self.images_, self.labels_, self.classes_ = images, labels, np.unique(labels)
        return self


def test_an_augmented_classifier_is_fitted_on_the_images_followed_by_their_copies(blobs):
    labels = np.arange(100) % 3
    classifier = AugmentedClassifier(RecordingClassifier(), 2, 10, 0.1, 0).fit(blobs, labels).classifier_
    assert classifier.labels_.tolist() == labels.tolist() * 3
    assert (classifier.images_[:100] == blobs).all()
    assert (classifier.images_[100:200] != classifier.images_[200:]).any()
