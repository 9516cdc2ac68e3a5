"""Blend members' predictions and score the blend.

Blends are fitted and selected by log loss, whatever the competition's metric: unlike accuracy, every row affects it.
They are fitted on out-of-fold predictions only, and scored by cross-fitting: for each fold, the blend is fitted on the
other folds' rows and scored on this fold's, so that no row affects the blend that it is scored with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import Predictions
from competition.ensemble.blenders import BLENDERS, Combination
from competition.errors import UserError
from competition.scoring.metrics import accuracy, log_loss, row_log_loss
from competition.scoring.standard_error import Score

AUTO = "auto"
MIN_GAIN_SE = 2.0  # standard errors of log loss by which another blender has to beat the mean

ExcludedFolds = frozenset[int]  # folds whose labels are not used
NO_FOLDS = ExcludedFolds()


@dataclass(frozen=True)
class Blend:
    """Predictions of a blend, and their scores."""

    members: tuple[str, ...]
    blender: str
    combination: Combination
    oof: np.ndarray  # (train rows, classes), cross-fitted
    test: np.ndarray  # (test rows, classes)
    accuracy: Score
    log_loss: Score


def blend(members: Sequence[Predictions], labels: np.ndarray, held_out: np.ndarray, blender: str = AUTO) -> Blend:
    """Blend complete members by this blender; `auto` selects one."""
    return BlendSearch(members, labels, held_out).blend(blender)


def check_blender(blender: str) -> None:
    """Raise UserError if there is no blender of this name."""
    if blender not in (AUTO, *BLENDERS):
        raise UserError(f"unknown blender {blender!r}; choose from {', '.join((AUTO, *BLENDERS))}")


class BlendSearch:
    """All blends of some complete members; each blender is fitted only once for the same excluded folds."""

    def __init__(self, members: Sequence[Predictions], labels: np.ndarray, held_out: np.ndarray) -> None:
        self.members = members
        self.stack = np.stack([member.oof for member in members])
        self.labels = labels
        self.held_out = held_out
        self.folds = np.unique(held_out).tolist()
        self.fitted: dict[tuple[str, ExcludedFolds], Combination] = {}

    def blend(self, blender: str = AUTO) -> Blend:
        """Blend by this blender; `auto` selects one, for each fold without its labels."""
        check_blender(blender)
        oof = np.empty(self.stack.shape[1:])
        for fold in self.folds:
            excluded, rows = ExcludedFolds([fold]), self.held_out == fold
            name = self.select_blender(excluded) if blender == AUTO else blender
            oof[rows] = self.fit(name, excluded).combine(self.stack[:, rows])
        name = self.select_blender() if blender == AUTO else blender
        combination = self.fit(name)
        # Fold by fold: a mean over folds is sharper than the out-of-fold rows on which the temperatures were fitted.
        by_fold = zip(*(member.test for member in self.members), strict=True)
        test = np.mean([combination.combine(np.stack(fold)) for fold in by_fold], axis=0)
        names = tuple(member.member for member in self.members)
        return Blend(names, name, combination, oof, test, accuracy(self.labels, oof), log_loss(self.labels, oof))

    def fit(self, blender: str, excluded: ExcludedFolds = NO_FOLDS) -> Combination:
        """Fit a blender on all other folds."""
        if (blender, excluded) not in self.fitted:
            rows = ~np.isin(self.held_out, list(excluded))
            self.fitted[blender, excluded] = BLENDERS[blender](self.stack[:, rows], self.labels[rows])
        return self.fitted[blender, excluded]

    def select_blender(self, excluded: ExcludedFolds = NO_FOLDS) -> str:
        """The blender with the lowest cross-fitted log loss on the other folds; the mean unless it is clearly beaten.

        With two folds, cross-fitting the selection would leave a single fold to select on, so the mean is kept.
        """
        best, best_gain = "mean", 0.0
        if len(self.stack) == 1 or len(self.folds) < 3:
            return best
        losses = {name: self._cross_fitted_losses(name, excluded) for name in BLENDERS}
        for name, rows in losses.items():
            gain = Score.from_rows(losses["mean"] - rows)
            if gain.value > max(best_gain, MIN_GAIN_SE * gain.standard_error):
                best, best_gain = name, gain.value
        return best

    def _cross_fitted_losses(self, blender: str, excluded: ExcludedFolds) -> np.ndarray:
        """Log loss of each row of the other folds, by the blender fitted without the row's fold."""
        losses = []
        for fold in self.folds:
            if fold not in excluded:
                rows = self.held_out == fold
                probabilities = self.fit(blender, excluded | {fold}).combine(self.stack[:, rows])
                losses.append(row_log_loss(self.labels[rows], probabilities))
        return np.concatenate(losses)
