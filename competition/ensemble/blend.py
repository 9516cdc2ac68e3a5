"""Blend members' predictions and score the blend.

Blends are fitted and selected by log loss, whatever the competition's metric: unlike accuracy, it depends on the
probabilities of every row. For numbers, squared error is used instead.
They are fitted on out-of-fold predictions only, and scored by cross-fitting: for each fold, the blend is fitted on the
other folds' rows and scored on this fold's, so that no row affects the blend that it is scored with. The same holds
for labels that are chosen for a metric such as F1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from competition.crossval.predictions import Predictions
from competition.data.targets import TargetKind, target_kind
from competition.ensemble.blenders import (
    TEMPERED_BLENDERS,
    Combination,
    blender_names,
    find_blender,
    fit_blender,
    fit_temperatures,
)
from competition.scoring.calibration import Calibration
from competition.scoring.decisions import Decision, fit_decision
from competition.scoring.losses import row_losses
from competition.scoring.metrics import Metric, accuracy, log_loss
from competition.scoring.standard_error import Score

AUTO = "auto"
MIN_GAIN_SE = 2.0  # standard errors of the loss by which another blender has to beat the mean

ExcludedBlocks = frozenset[int]  # blocks of rows whose labels are not used
NO_BLOCKS = ExcludedBlocks()


@dataclass(frozen=True)
class Blend:
    """Predictions of a blend, and their scores."""

    members: tuple[str, ...]
    blender: str
    combination: Combination
    oof: np.ndarray  # (train rows, outputs), cross-fitted
    test: np.ndarray  # (test rows, outputs)
    accuracy: Score | None  # None for numbers
    log_loss: Score | None
    refits: int = 0  # number of models of each network, trained on all rows, that predict the test rows, if any
    decision: Decision | None = None  # that chooses the labels, unless the most probable ones are submitted
    # Out-of-fold predictions with 1 for chosen labels, cross-fitted; probabilities in folds without a decision.
    chosen_oof: np.ndarray | None = None  # None without a metric of labels
    chosen_test: np.ndarray | None = None  # the same of the test rows, if there is a decision

    @property
    def submitted_oof(self) -> np.ndarray:
        """Out-of-fold predictions as they would be submitted, with 1 for chosen labels."""
        return self.oof if self.chosen_oof is None else self.chosen_oof

    @property
    def submitted_test(self) -> np.ndarray:
        """Test predictions as they are submitted."""
        return self.test if self.chosen_test is None else self.chosen_test

    def with_refits(self, refits: Sequence[np.ndarray | None], count: int) -> "Blend":
        """The blend with test predictions by models trained on all rows, as `combine_models` takes them."""
        chosen = choose_labels(self.combination, refits, self.decision) if self.decision else None
        return replace(self, test=combine_models(self.combination, refits), chosen_test=chosen, refits=count)


def blend(
    members: Sequence[Predictions],
    labels: np.ndarray,
    held_out: np.ndarray,
    blender: str = AUTO,
    groups: np.ndarray | None = None,
    label_metric: Metric | None = None,
) -> Blend:
    """Blend complete members by this blender; `auto` selects one. Labels are chosen for the metric, if any."""
    return BlendSearch(members, labels, held_out, groups, label_metric).blend(blender)


def choose_labels(combination: Combination, predictions: Sequence[np.ndarray | None], decision: Decision) -> np.ndarray:
    """1 for the labels that are chosen by the mean over several blends, which are calibrated first; 0 for others."""
    return decision.choose(combine_models(combination, predictions, decision.calibration))


def choose_labels_of_members(
    members: Sequence[Predictions],
    labels: np.ndarray,
    held_out: np.ndarray,
    groups: np.ndarray | None,
    label_metric: Metric | None,
) -> dict[str, np.ndarray]:
    """Out-of-fold predictions of each member as they would be submitted if it were the only one."""
    if label_metric is None:
        return {member.member: member.oof for member in members}
    searches = {each.member: BlendSearch([each], labels, held_out, groups, label_metric) for each in members}
    return {name: search.blend().submitted_oof for name, search in searches.items()}


def combine_models(
    combination: Combination, predictions: Sequence[np.ndarray | None], calibration: Calibration | None = None
) -> np.ndarray:
    """Average several blends, perhaps calibrated: the i-th combines the i-th model of every member.

    Each member's predictions are (models, rows, outputs). Members with a single model take part in every blend; those
    without a weight may be None.
    """
    given = [each for each in predictions if each is not None]
    count, outputs = max(map(len, given)), given[0].shape[2]
    uniform = np.full((1, *given[0].shape[1:]), 1 / outputs, dtype=np.float32)  # has no weight, so no effect
    models = [uniform if each is None else each for each in predictions]
    # A mean over models would be sharper than the out-of-fold rows on which the temperatures were fitted.
    stacks = (np.stack([each[number % len(each)] for each in models]) for number in range(count))
    blends = (combination.combine(stack) for stack in stacks)
    total = sum(calibration.apply(each) if calibration else each for each in blends)  # not all of them in memory
    return np.asarray(total) / count


def check_blender(blender: str, kind: TargetKind) -> None:
    """Raise UserError if there is no blender of this name for this kind of target."""
    if blender != AUTO:
        find_blender(blender, kind)


class BlendSearch:
    """All blends of some complete members; each blender is fitted only once for the same excluded blocks of rows.

    The blocks are the folds. With only two folds, each is halved: otherwise the rows outside a fold would be a single
    block, on which no blender could be cross-fitted.
    """

    def __init__(
        self,
        members: Sequence[Predictions],
        labels: np.ndarray,
        held_out: np.ndarray,
        groups: np.ndarray | None = None,
        label_metric: Metric | None = None,  # for which labels are chosen
    ) -> None:
        self.members = members
        self.groups = groups
        self.label_metric = label_metric
        self.kind = target_kind(labels)
        self.stack = np.stack([member.oof for member in members])
        self.labels = labels
        self.held_out = held_out
        self.folds = np.unique(held_out).tolist()
        self.blocks = held_out if len(self.folds) != 2 else _halve(held_out, groups)
        self.decisions: dict[tuple[str, ExcludedBlocks], Decision | None] = {}
        self.fitted: dict[tuple[str, ExcludedBlocks], Combination] = {}
        self.temperatures: dict[tuple[Predictions, ExcludedBlocks], float] = {}

    def without(self, member: Predictions) -> "BlendSearch":
        """The blends of the other members, whose temperatures are the same."""
        others = [other for other in self.members if other is not member]
        search = BlendSearch(others, self.labels, self.held_out, self.groups)
        search.temperatures = self.temperatures
        return search

    def blend(self, blender: str = AUTO) -> Blend:
        """Blend by this blender; `auto` selects one, for each fold without its labels."""
        check_blender(blender, self.kind)
        oof = np.empty(self.stack.shape[1:])
        chosen_oof = np.empty_like(oof) if self.label_metric else None
        for fold in self.folds:
            rows = self.held_out == fold
            excluded = ExcludedBlocks(np.unique(self.blocks[rows]).tolist())
            name = self.select_blender(excluded) if blender == AUTO else blender
            oof[rows] = self.fit(name, excluded).combine(self.stack[:, rows])
            if chosen_oof is not None:
                decision = self.fit_decision(name, excluded)
                chosen_oof[rows] = decision.decide(oof[rows]) if decision else oof[rows]
        name = self.select_blender() if blender == AUTO else blender
        combination, decision = self.fit(name), self.fit_decision(name)
        tests = [member.test for member in self.members]
        test = combine_models(combination, tests)
        chosen_test = choose_labels(combination, tests, decision) if decision else None
        names = tuple(member.member for member in self.members)
        if self.kind == "number":
            return Blend(names, name, combination, oof, test, None, None)
        submitted = oof if chosen_oof is None else chosen_oof
        accuracy_score, loss = accuracy(self.labels, submitted, self.groups), log_loss(self.labels, oof, self.groups)
        return Blend(
            names,
            name,
            combination,
            oof,
            test,
            accuracy_score,
            loss,
            decision=decision,
            chosen_oof=chosen_oof,
            chosen_test=chosen_test,
        )

    def fit(self, blender: str, excluded: ExcludedBlocks = NO_BLOCKS) -> Combination:
        """Fit a blender on all other blocks."""
        if (blender, excluded) not in self.fitted:
            rows = ~np.isin(self.blocks, list(excluded))
            stack, labels = self.stack[:, rows], self.labels[rows]
            is_tempered = blender in TEMPERED_BLENDERS and self.kind != "number"
            temperatures = self._fit_temperatures(stack, labels, excluded) if is_tempered else None
            self.fitted[blender, excluded] = fit_blender(blender, stack, labels, temperatures)
        return self.fitted[blender, excluded]

    def fit_decision(self, blender: str, excluded: ExcludedBlocks = NO_BLOCKS) -> Decision | None:
        """Fit the decision on all other blocks, combined by this blender; None if the most probable labels are best."""
        if self.label_metric is None:
            return None
        if (blender, excluded) not in self.decisions:
            rows = ~np.isin(self.blocks, list(excluded))
            blended = self.fit(blender, excluded).combine(self.stack[:, rows])
            groups = None if self.groups is None else self.groups[rows]
            self.decisions[blender, excluded] = fit_decision(self.label_metric, blended, self.labels[rows], groups)
        return self.decisions[blender, excluded]

    def _fit_temperatures(self, stack: np.ndarray, labels: np.ndarray, excluded: ExcludedBlocks) -> np.ndarray:
        """The members' temperatures on these rows, which do not depend on the other members or the blender."""
        keys = [(member, excluded) for member in self.members]
        for index, key in enumerate(keys):
            if key not in self.temperatures:
                self.temperatures[key] = float(fit_temperatures(stack[index : index + 1], labels)[0])
        return np.array([self.temperatures[key] for key in keys])

    def select_blender(self, excluded: ExcludedBlocks = NO_BLOCKS) -> str:
        """The blender with the lowest cross-fitted loss on the other blocks; the mean unless it is clearly beaten."""
        best, best_gain = "mean", 0.0
        used = ~np.isin(self.blocks, list(excluded))
        if len(self.stack) == 1 or len(np.unique(self.blocks[used])) < 2:
            return best
        groups = None if self.groups is None else self.groups[used]
        losses = {name: self._cross_fitted_losses(name, excluded)[used] for name in blender_names(self.kind)}
        for name, rows in losses.items():
            gain = Score.from_rows(losses["mean"] - rows, groups)
            if gain.value > max(best_gain, MIN_GAIN_SE * gain.standard_error):
                best, best_gain = name, gain.value
        return best

    def _cross_fitted_losses(self, blender: str, excluded: ExcludedBlocks) -> np.ndarray:
        """Loss of each row of the other blocks, by the blender fitted without the row's block."""
        losses = np.full(len(self.labels), np.nan)
        for block in np.unique(self.blocks).tolist():
            if block not in excluded:
                rows = self.blocks == block
                predictions = self.fit(blender, excluded | {block}).combine(self.stack[:, rows])
                losses[rows] = row_losses(self.labels[rows], predictions)
        return losses


def _halve(held_out: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Number the blocks of rows, two for each fold: its rows alternate between them, except within groups."""
    units = np.arange(len(held_out)) if groups is None else groups
    blocks = 2 * held_out
    for fold in np.unique(held_out):
        rows = held_out == fold
        blocks[rows] += np.unique(units[rows], return_inverse=True)[1] % 2
    return blocks
