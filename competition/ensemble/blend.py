"""Blend the members' predictions and say what that is worth; pixels and models are unknown here.

Whatever a competition is won by, blends are learned and chosen by log loss, which every row moves.
Everything a blend learns, it learns from out-of-fold rows, and its score is cross-fitted: for each fold it is learned
again on the other folds' rows and scored on this one's, so that no row helped to choose what scores it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import Predictions
from competition.ensemble.blenders import BLENDERS, Combination
from competition.errors import UserError
from competition.scoring.metrics import accuracy, log_loss, row_log_loss
from competition.scoring.score import Score

AUTO = "auto"
MIN_GAIN_SE = 2.0  # standard errors of log loss by which something cleverer has to beat the mean

ExcludedFolds = frozenset[int]  # folds whose labels are not looked at


@dataclass(frozen=True)
class Blend:
    """A blend of members and what it is worth."""

    members: tuple[str, ...]
    blender: str
    combination: Combination
    oof: np.ndarray  # (train rows, classes), cross-fitted
    test: np.ndarray  # (test rows, classes)
    accuracy: Score
    log_loss: Score


def blend(members: Sequence[Predictions], labels: np.ndarray, held_out: np.ndarray, blender: str = AUTO) -> Blend:
    """Complete members, blended by a blender of this name, or by the one that pays."""
    return BlendSearch(members, labels, held_out).blend(blender)


def check_blender(blender: str) -> None:
    """A Problem unless there is a blender of this name."""
    if blender not in (AUTO, *BLENDERS):
        raise UserError(f"no blender {blender!r}; choose from {', '.join((AUTO, *BLENDERS))}")


class BlendSearch:
    """All ways to blend some complete members; what a blender learns without some folds is learned once."""

    def __init__(self, members: Sequence[Predictions], labels: np.ndarray, held_out: np.ndarray) -> None:
        self.members = members
        self.stack = np.stack([member.oof for member in members])
        self.labels = labels
        self.held_out = held_out
        self.folds = np.unique(held_out).tolist()
        self.made: dict[tuple[str, ExcludedFolds], Combination] = {}

    def blend(self, blender: str = AUTO) -> Blend:
        """By a blender of this name, or by the one that pays."""
        check_blender(blender)

        def chosen(without: ExcludedFolds) -> str:
            return self.choose(without) if blender == AUTO else blender

        oof = np.empty(self.stack.shape[1:])
        for fold in self.folds:
            without = ExcludedFolds([fold])
            inside = self.held_out == fold
            oof[inside] = self.learned(chosen(without), without).combine(self.stack[:, inside])
        nothing = ExcludedFolds()
        name = chosen(nothing)
        combination = self.learned(name, nothing)
        # Fold by fold: a mean over folds is sharper than the out-of-fold rows from which the temperatures were learned.
        by_fold = zip(*(member.test for member in self.members), strict=True)
        test = np.mean([combination.combine(np.stack(fold)) for fold in by_fold], axis=0)
        names = tuple(member.member for member in self.members)
        return Blend(names, name, combination, oof, test, accuracy(self.labels, oof), log_loss(self.labels, oof))

    def learned(self, blender: str, without: ExcludedFolds) -> Combination:
        """The blender's combination, learned from the other folds."""
        if (blender, without) not in self.made:
            rows = ~np.isin(self.held_out, list(without))
            self.made[blender, without] = BLENDERS[blender](self.stack[:, rows], self.labels[rows])
        return self.made[blender, without]

    def choose(self, without: ExcludedFolds) -> str:
        """The blender of least cross-fitted log loss on the other folds, or the mean unless that is beyond noise.

        Of two folds each would leave one to choose on, which is too few to choose again and so to score the choice.
        """
        others = [fold for fold in self.folds if fold not in without]
        best, least = "mean", 0.0
        if len(self.stack) == 1 or len(self.folds) < 3:
            return best
        losses = {name: self._losses(name, without, others) for name in BLENDERS}
        for name, rows in losses.items():
            gain = Score.from_rows(losses["mean"] - rows)
            if gain.value > max(least, MIN_GAIN_SE * gain.standard_error):
                best, least = name, gain.value
        return best

    def _losses(self, blender: str, without: ExcludedFolds, others: list[int]) -> np.ndarray:
        """The log loss of each row of the other folds, learned without the row's own."""
        losses = []
        for fold in others:
            inside = self.held_out == fold
            said = self.learned(blender, without | {fold}).combine(self.stack[:, inside])
            losses.append(row_log_loss(self.labels[inside], said))
        return np.concatenate(losses)
