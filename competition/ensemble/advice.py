"""Estimate what each member contributes to the blend, and what further members would contribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import Predictions
from competition.data.targets import TargetKind, target_kind
from competition.ensemble.blend import Blend, BlendSearch
from competition.ensemble.blenders import weighted_blender
from competition.models.member import Member
from competition.scoring.losses import row_errors, row_losses
from competition.scoring.multilabel import to_binary
from competition.scoring.significance import error_correlation
from competition.scoring.standard_error import Score
from competition.scoring.temperature import EPSILON

ASSUMED_REDUCTION = 0.3  # fraction of a single member's loss by which a second, different model reduces it
MIN_GAIN = 0.01  # fraction of the blend's loss that a new seed has to save, to be worth training


@dataclass(frozen=True)
class Contribution:
    """Leave-one-out contribution of a member to the blend, and the expected gain from training one more seed of it."""

    member: str
    accuracy_gain: Score | None  # out of fold, over the blend without it; None for numbers
    loss_reduction: Score
    error_correlation: float  # mean over the other members
    expected_gain_of_new_seed: float | None  # reduction of the loss on test rows; None if there are none
    minutes: float  # CPU time of another seed
    blend_loss: float  # with all members

    @property
    def is_worth_another_seed(self) -> bool:
        """Whether another seed of the member is expected to reduce the loss noticeably."""
        return (self.expected_gain_of_new_seed or 0.0) >= MIN_GAIN * self.blend_loss

    @property
    def is_measurable(self) -> bool:
        """Whether the blend without the member has a loss that is higher by more than a standard error."""
        return self.loss_reduction.value > self.loss_reduction.standard_error

    @property
    def kind(self) -> str:
        """The member's name without the seed."""
        return Member.parse(self.member).kind


@dataclass(frozen=True)
class Advice:
    """What to train next. It never advises both another seed of a model and leaving that model out."""

    another_seed: Contribution | None  # the member of which another seed reduces the loss most per CPU minute
    leave_out: Contribution | None  # the most expensive member that contributes nothing, or nothing measurable
    new_model_gain: float  # expected reduction of the loss by a different model

    def __post_init__(self) -> None:
        if self.another_seed and self.leave_out and self.another_seed.kind == self.leave_out.kind:
            raise ValueError(f"{self.leave_out.kind} cannot be both trained again and left out")


def advise(contributions: Sequence[Contribution]) -> Advice:
    """What to train next, by the contributions of at least two members.

    Another seed is advised only of models whose seeds all contribute. Only one member is left out at a time: of two
    that make the same errors, each adds nothing as long as the other is there.
    """
    redundant = [member for member in contributions if not member.is_measurable]
    redundant_kinds = {member.kind for member in redundant}
    repeatable = [
        member for member in contributions if member.kind not in redundant_kinds and member.is_worth_another_seed
    ]
    return Advice(
        max(
            repeatable,
            key=lambda member: (member.expected_gain_of_new_seed or 0.0) / (member.minutes + 1e-9),
            default=None,
        ),
        max(redundant, key=lambda member: (member.loss_reduction.value <= 0, member.minutes), default=None),
        mean_reduction(contributions),
    )


def measure_contributions(search: BlendSearch, full_blend: Blend) -> list[Contribution]:
    """Compare the blend of all members with cross-fitted blends that leave one out; none for a single member."""
    members, labels, groups = search.members, search.labels, search.groups
    if len(members) == 1:
        return []
    correlations = error_correlation(np.stack([row_errors(labels, member.oof) for member in members]))
    mean_correlations = (correlations.sum(axis=1) - correlations.diagonal()) / (len(members) - 1)
    is_number, errors = target_kind(labels) == "number", row_errors(labels, full_blend.oof)
    losses, contributions = row_losses(labels, full_blend.oof), []
    for index, member in enumerate(members):
        without = search.without(member).blend(full_blend.blender).oof
        contribution = Contribution(
            member.member,
            None if is_number else Score.from_rows(row_errors(labels, without) - errors, groups),
            Score.from_rows(row_losses(labels, without) - losses, groups),
            float(mean_correlations[index]),
            _expected_gain_of_new_seed(members, full_blend, index, target_kind(labels)),
            member.seconds / 60,
            float(losses.mean()),
        )
        contributions.append(contribution)
    return contributions


def mean_reduction(contributions: Sequence[Contribution]) -> float:
    """Expected reduction of the loss by a different model: the mean of the current members' reductions."""
    return float(np.mean([max(0.0, contribution.loss_reduction.value) for contribution in contributions]))


def estimate_gains(
    complete: Sequence[Predictions], candidates: Sequence[Member], labels: np.ndarray, held_out: np.ndarray
) -> dict[Member, float]:
    """Expected reduction of the loss by each candidate, a new seed of a complete member or a different model.

    Of several seeds of a different model, only the first is expected to reduce it.
    """
    search = BlendSearch(complete, labels, held_out)
    full_blend = search.blend(weighted_blender(search.kind))
    new_kind_gain = (
        mean_reduction(measure_contributions(search, full_blend))
        if len(complete) > 1
        else ASSUMED_REDUCTION * float(row_losses(labels, full_blend.oof).mean())
    )
    indices = {Member.parse(member.member).kind: index for index, member in enumerate(complete)}
    gains: dict[Member, float] = {}
    for candidate in candidates:
        if candidate.kind in indices:
            gain = _expected_gain_of_new_seed(complete, full_blend, indices[candidate.kind], target_kind(labels))
            gains[candidate] = gain or 0.0
        else:
            is_first = candidate.kind not in {other.kind for other in gains}
            gains[candidate] = new_kind_gain if is_first else 0.0
    return gains


def _expected_gain_of_new_seed(
    members: Sequence[Predictions], full_blend: Blend, index: int, kind: TargetKind
) -> float | None:
    """Expected reduction of the loss on test rows by a new seed of a member; None if there are no test rows.

    Fold models are treated as independent replicates, like different seeds. The gain from averaging F folds estimates
    the variance s2 of one model; a second seed halves the remaining variance from s2/F to s2/2F. The blend is assumed
    to be calibrated, so that labels can be treated as drawn from it. Classical models differ between folds but hardly
    between seeds, so a new seed of one is worth nothing.
    """
    folds = len(members[0].test)
    if folds < 2 or not Member.parse(members[index].member).spec.is_network:
        return 0.0
    if not members[index].test.shape[1]:
        return None
    combine = full_blend.combination.combine
    fold_means = np.mean([member.test for member in members], axis=1)
    reference = combine(fold_means)
    losses = []
    for fold in range(folds):
        stack = fold_means.copy()
        stack[index] = members[index].test[fold]
        losses.append(_expected_loss(reference, combine(stack), kind))
    gain_of_all_folds = np.mean(losses) - _expected_loss(reference, reference, kind)
    variance = gain_of_all_folds / (1 - 1 / folds)
    return max(0.0, float(variance) * (1 / folds - 1 / (2 * folds)))


def _expected_loss(reference: np.ndarray, predictions: np.ndarray, kind: TargetKind) -> float:
    """Mean loss if labels are drawn from the probabilities `reference`; for numbers, the excess over their variance."""
    if kind == "number":
        return float(((reference - predictions) ** 2).mean())
    if kind == "labels":
        return _expected_loss(to_binary(reference), to_binary(predictions), "class")
    return float(-(reference * np.log(np.maximum(predictions, EPSILON))).sum(axis=1).mean())
