"""Augmented copies of images, for models that are not trained in epochs."""

from typing import Self

import numpy as np
from scipy.ndimage import affine_transform
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone

from competition.data.augmentation import affine_matrix


def augment_images(images: np.ndarray, rng: np.random.Generator, rotation: float, zoom: float) -> np.ndarray:
    """Rotate each image by up to `rotation` degrees and scale each axis by up to the fraction `zoom`, at random."""
    angles = np.radians(rng.uniform(-rotation, rotation, len(images)))
    scales = 1 + rng.uniform(-zoom, zoom, (len(images), 2))
    augmented = np.empty_like(images)
    for image, angle, scale, output in zip(images, angles, scales, augmented, strict=True):
        transform_image(image, output, np.array(affine_matrix((np.cos(angle), np.sin(angle)), scale)))
    return augmented


def transform_image(image: np.ndarray, output: np.ndarray, matrix: np.ndarray, shift: np.ndarray | float = 0.0) -> None:
    """Fill each output pixel from matrix (pixel - centre) + centre + shift of the image; 0 outside of it.

    Pixels are interpolated linearly; image and output are (height, width, channels).
    """
    centre = (np.array(image.shape[:2]) - 1) / 2
    with_channels = np.eye(3)
    with_channels[:2, :2] = matrix
    affine_transform(image, with_channels, (*(centre + shift - matrix @ centre), 0), output=output, order=1)


class AugmentedClassifier(ClassifierMixin, BaseEstimator):
    """An image classifier that is fitted on the training images and augmented copies of them."""

    def __init__(self, classifier: BaseEstimator, n_copies: int, rotation: float, zoom: float, seed: int) -> None:
        self.classifier = classifier
        self.n_copies = n_copies
        self.rotation = rotation
        self.zoom = zoom
        self.seed = seed

    def fit(self, images: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the classifier on the images, followed by their copies."""
        rng = np.random.default_rng(self.seed)
        copies = (augment_images(images, rng, self.rotation, self.zoom) for _ in range(self.n_copies))
        all_labels = np.tile(labels, 1 + self.n_copies)
        self.classifier_ = clone(self.classifier).fit(np.concatenate([images, *copies]), all_labels)
        self.classes_ = self.classifier_.classes_
        return self

    def decision_function(self, images: np.ndarray) -> np.ndarray:
        """The classifier's decision values (rows, classes)."""
        return self.classifier_.decision_function(images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The predicted classes."""
        return self.classifier_.predict(images)


class FeaturesWithCopies(TransformerMixin, BaseEstimator):
    """Features of images and, in training, of augmented copies of them: (rows, 1 + copies, dimensions)."""

    def __init__(self, features: BaseEstimator, n_copies: int, rotation: float, zoom: float, seed: int) -> None:
        self.features = features
        self.n_copies = n_copies
        self.rotation = rotation
        self.zoom = zoom
        self.seed = seed

    def fit(self, images: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Fit the features on the images."""
        self.features_ = clone(self.features).fit(images)
        return self

    def fit_transform(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Features of the training images and of their copies."""
        self.features_ = clone(self.features)
        features, rng = [self.features_.fit_transform(images)], np.random.default_rng(self.seed)
        for _ in range(self.n_copies):
            features.append(self.features_.transform(augment_images(images, rng, self.rotation, self.zoom)))
        return np.stack(features, axis=1)

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Features of other images, without copies."""
        return self.features_.transform(images)[:, None]


class ClassifierOfCopies(ClassifierMixin, BaseEstimator):
    """A classifier that is fitted on the features of images and of their copies: (rows, 1 + copies, dimensions)."""

    def __init__(self, classifier: BaseEstimator) -> None:
        self.classifier = classifier

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the classifier; copies have the label of their image."""
        rows, copies, dimensions = features.shape
        flat = features.reshape(rows * copies, dimensions)
        self.classifier_ = clone(self.classifier).fit(flat, np.repeat(labels, copies))
        self.classes_ = self.classifier_.classes_
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        """The classifier's decision values (rows, classes)."""
        return self.classifier_.decision_function(features[:, 0])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The predicted classes."""
        return self.classifier_.predict(features[:, 0])
