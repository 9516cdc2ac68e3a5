"""The predictions that cross-validation passes to the ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.curves import CurvePoint


@dataclass(frozen=True)
class Predictions:
    """A member's predictions, rows in Dataset order."""

    member: str
    oof: np.ndarray  # (train rows, classes); NaN where a fold is unfinished
    test: np.ndarray  # (folds, test rows, classes)
    seconds: float  # of training and prediction, summed over folds
    fingerprint: str
    curves: Sequence[Sequence[CurvePoint]] = ()  # training curve of each fold; empty for models without epochs

    @property
    def complete(self) -> bool:
        """Whether all folds are finished."""
        return bool(np.isfinite(self.oof).all() and np.isfinite(self.test).all())
