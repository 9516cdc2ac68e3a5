"""Regression by classification: any classifier predicts numbers as a distribution over bins of the training rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Self

import numpy as np

from competition.models.interface import Checkpoint, Classifier, Epoch, EpochCallback, Images, Predictor, Target

MAX_BINS = 16
MIN_BIN_ROWS = 6  # so that a classifier can be calibrated on thirds of the rows


@dataclass(frozen=True)
class Bins:
    """Intervals of numbers with about equal numbers of training rows."""

    ends: np.ndarray  # the largest number in each bin but the last
    means: np.ndarray  # of the training rows in each bin

    @classmethod
    def fit(cls, numbers: np.ndarray) -> Self:
        """The bins of these training rows; equal numbers are in the same bin."""
        ends = _bin_ends(numbers)
        bins = np.searchsorted(ends, numbers)  # an end belongs to its bin
        return cls(ends, np.bincount(bins, numbers) / np.bincount(bins))

    @property
    def target(self) -> Target:
        """The bins as classes."""
        return Target("class", len(self.means))

    def classify(self, numbers: np.ndarray) -> np.ndarray:
        """The bin of each number."""
        return np.searchsorted(self.ends, numbers)

    def average(self, probabilities: np.ndarray) -> np.ndarray:
        """The expected number (rows, 1), given the probabilities (rows, bins)."""
        return probabilities @ self.means[:, None]


def _bin_ends(numbers: np.ndarray) -> np.ndarray:
    """The largest number in each bin but the last; at least two bins unless all numbers are equal."""
    values, counts = np.unique(numbers, return_counts=True)
    size = max(ceil(len(numbers) / MAX_BINS), MIN_BIN_ROWS)
    ends, filled, left = [], 0, len(numbers)
    for value, count, following in zip(values[:-1], counts[:-1], counts[1:], strict=True):
        filled, left = filled + count, left - count
        if filled >= MIN_BIN_ROWS <= left and filled + following > size:
            ends.append(value)
            filled = 0
    if ends or len(values) == 1:
        return np.array(ends, dtype=numbers.dtype)
    most_even = np.abs(np.cumsum(counts)[:-1] - len(numbers) / 2).argmin()
    return values[most_even : most_even + 1]


class BinnedRegressor:
    """A classifier of bins that predicts the expected number."""

    def __init__(self, build: Callable[[Target], Classifier]) -> None:
        self.build = build
        self.classifier: Classifier
        self.bins: Bins

    @property
    def suffix(self) -> str:
        """Suffix of the classifier's file."""
        return self.classifier.suffix

    @property
    def remark(self) -> str:
        """What the user should know about the classifier's fit."""
        return self.classifier.remark

    def fit(
        self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback, checkpoint: Checkpoint | None = None
    ) -> Self:
        """Train the classifier on the bins of these rows."""
        self.bins = Bins.fit(labels)
        self.classifier = self.build(self.bins.target)

        def report(epoch: Epoch) -> None:
            on_epoch_end(replace(epoch, predict_proba=lambda images: self.bins.average(epoch.predict_proba(images))))

        self.classifier.fit(images, self.bins.classify(labels), report, checkpoint)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Expected numbers (rows, 1)."""
        return self.bins.average(self.classifier.predict_proba(images))

    def save(self, path: Path) -> None:
        """Write the classifier; `load_regressor` fits the bins again."""
        self.classifier.save(path)


class BinnedPredictor:
    """A loaded classifier of bins that predicts the expected number."""

    def __init__(self, classifier: Predictor, bins: Bins) -> None:
        self.classifier = classifier
        self.bins = bins

    def predict_proba(self, images: Images) -> np.ndarray:
        """Expected numbers (rows, 1)."""
        return self.bins.average(self.classifier.predict_proba(images))


def load_regressor(load: Callable[[Path, Target], Predictor], path: Path, numbers: np.ndarray) -> BinnedPredictor:
    """Load the classifier that was trained on rows with these numbers."""
    bins = Bins.fit(numbers)
    return BinnedPredictor(load(path, bins.target), bins)
