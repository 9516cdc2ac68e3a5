"""What cross-validation hands to the ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.curves import Point


@dataclass(frozen=True)
class Predictions:
    """A member's predictions, rows in Dataset order."""

    member: str
    oof: np.ndarray  # (train rows, classes); NaN where nothing has predicted yet
    test: np.ndarray  # (folds, test rows, classes)
    seconds: float  # of training and predicting, over all folds
    fingerprint: str
    curves: Sequence[Sequence[Point]] = ()  # of its folds, where training has epochs

    @property
    def complete(self) -> bool:
        """Whether every row is predicted."""
        return bool(np.isfinite(self.oof).all() and np.isfinite(self.test).all())
