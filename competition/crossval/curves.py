"""How a training goes, epoch by epoch, on rows that taught it and rows that did not; it is told and chooses nothing."""

from dataclasses import dataclass

import numpy as np
import psutil

from competition.data.dataset import Dataset
from competition.models.interface import Epoch
from competition.scoring.metrics import accuracy, log_loss

WATCHED = 1000  # rows of either kind, which cost a few hundredths of the training


@dataclass(frozen=True)
class Point:
    """Where a training stands after an epoch."""

    epoch: int
    epochs: int
    loss: float  # that it was trained by: on augmented images, with smoothed labels
    images_per_second: float
    memory: int  # bytes that its process holds
    taught_accuracy: float
    taught_log_loss: float
    held_out_accuracy: float
    held_out_log_loss: float


class Watch:
    """Looks at a training on the same few rows after each epoch."""

    def __init__(self, dataset: Dataset, held_out: np.ndarray) -> None:
        self.points: list[Point] = []
        random = np.random.default_rng(0)
        kinds = (np.flatnonzero(~held_out), np.flatnonzero(held_out))
        chosen = [np.sort(random.permutation(rows)[:WATCHED]) for rows in kinds]
        self._watched = [(dataset.images[rows], dataset.labels[rows]) for rows in chosen]

    def look(self, epoch: Epoch) -> Point:
        """The next point of the curve."""
        taught, held_out = ((labels, epoch.predict_proba(images)) for images, labels in self._watched)
        point = Point(
            epoch.done,
            epoch.of,
            epoch.loss,
            epoch.images_per_second,
            psutil.Process().memory_info().rss,
            accuracy(*taught).value,
            log_loss(*taught).value,
            accuracy(*held_out).value,
            log_loss(*held_out).value,
        )
        self.points.append(point)
        return point
