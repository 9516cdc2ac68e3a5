"""Slightly changed copies of images, for models that do not see their rows changed anew in every epoch."""

from typing import Self

import numpy as np
from scipy.ndimage import affine_transform
from sklearn.base import BaseEstimator, ClassifierMixin, clone


def changed(images: np.ndarray, random: np.random.Generator, rotation: float, zoom: float) -> np.ndarray:
    """Each image turned by up to so many degrees and stretched in each direction by up to that share, at random."""
    angles = np.radians(random.uniform(-rotation, rotation, len(images)))
    stretches = 1 + random.uniform(-zoom, zoom, (len(images), 2))
    centre = (np.array(images.shape[1:3]) - 1) / 2
    copies = np.empty_like(images)
    for row, (image, angle, stretch) in enumerate(zip(images, angles, stretches, strict=True)):
        matrix = np.eye(3)  # channels stay apart
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[:2, :2] = np.array(turn) * stretch[:, None]
        offset = np.append(centre - matrix[:2, :2] @ centre, 0)
        affine_transform(image, matrix, offset, output=copies[row], order=1)
    return copies


class WithCopies(ClassifierMixin, BaseEstimator):
    """A classifier of images that is fitted on them and on rounds of changed copies."""

    def __init__(self, classifier: BaseEstimator, rounds: int, rotation: float, zoom: float, seed: int) -> None:
        self.classifier = classifier
        self.rounds = rounds
        self.rotation = rotation
        self.zoom = zoom
        self.seed = seed

    def fit(self, images: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the classifier."""
        random = np.random.default_rng(self.seed)
        copies = (changed(images, random, self.rotation, self.zoom) for _ in range(self.rounds))
        self.fitted_ = clone(self.classifier).fit(np.concatenate([images, *copies]), np.tile(labels, 1 + self.rounds))
        self.classes_ = self.fitted_.classes_
        return self

    def decision_function(self, images: np.ndarray) -> np.ndarray:
        """How strongly the classifier is for each class."""
        return self.fitted_.decision_function(images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The likeliest class."""
        return self.fitted_.predict(images)
