"""Training curves, epoch by epoch, on training and on held-out rows; they are displayed and never steer training."""

from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import CurvePoint
from competition.data.dataset import Dataset
from competition.data.targets import target_kind
from competition.models.interface import Epoch
from competition.scoring.metrics import RMSE, accuracy, log_loss
from competition.workers.events import Event

MAX_ROWS = 1000  # training rows, and as many held-out rows; predicting them takes a few percent of the time


@dataclass(frozen=True)
class EpochDone(Event):
    """An epoch of the task's training ended."""

    point: CurvePoint


class CurveRecorder:
    """Evaluates a model on the same rows after each epoch."""

    def __init__(self, dataset: Dataset, held_out: np.ndarray) -> None:
        self.points: list[CurvePoint] = []
        random = np.random.default_rng(0)
        subsets = (np.flatnonzero(~held_out), np.flatnonzero(held_out))
        samples = [np.sort(random.permutation(rows)[:MAX_ROWS]) for rows in subsets]
        self._samples = [(dataset.images[rows], dataset.labels[rows]) for rows in samples]

    def record(self, epoch: Epoch) -> CurvePoint:
        """Append and return the next point of the curve."""
        train, held_out = (
            _evaluate(labels, epoch.predict_proba(images)) if len(images) else None for images, labels in self._samples
        )
        assert train
        point = CurvePoint(
            epoch.number,
            epoch.total,
            epoch.loss,
            epoch.images_per_second,
            _memory(),
            *train,
            *(held_out or (None, None)),
        )
        self.points.append(point)
        return point


def _evaluate(labels: np.ndarray, predictions: np.ndarray) -> tuple[float | None, float]:
    """Accuracy and log loss; only the root mean squared error of numbers."""
    if target_kind(labels) == "number":
        return None, RMSE.score(labels, predictions).value
    return accuracy(labels, predictions).value, log_loss(labels, predictions).value


def _memory() -> int:
    """Resident bytes of this process; 0 where psutil is not installed."""
    try:
        import psutil
    except ModuleNotFoundError:
        return 0
    return psutil.Process().memory_info().rss
