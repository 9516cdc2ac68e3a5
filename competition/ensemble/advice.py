"""Estimate what each member contributes to the blend, and what further members would contribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import Predictions
from competition.ensemble.blend import Blend, blend
from competition.models.member import Member
from competition.scoring.metrics import is_correct, row_log_loss
from competition.scoring.score import Score
from competition.scoring.significance import error_correlation
from competition.scoring.temperature import EPSILON

ASSUMED_SAVING = 0.3  # fraction of a single member's log loss that a second, different model is assumed to save


@dataclass(frozen=True)
class Contribution:
    """Contribution of a member to the blend, by leaving it out, and the expected one of another seed of it."""

    member: str
    accuracy_gain: Score  # out of fold, over the blend without it
    log_loss_saving: Score
    error_correlation: float  # mean over the other members
    another_seed_saving: float  # log loss on test rows
    minutes: float  # CPU time of another seed


def measure_contributions(
    members: Sequence[Predictions], full_blend: Blend, labels: np.ndarray, held_out: np.ndarray
) -> list[Contribution]:
    """Compare the blend of all members with cross-fitted blends that leave one out; none for a single member."""
    if len(members) == 1:
        return []
    correlations = error_correlation(np.stack([is_correct(labels, member.oof) for member in members]))
    mean_correlations = (correlations.sum(axis=1) - correlations.diagonal()) / (len(members) - 1)
    contributions = []
    for index, member in enumerate(members):
        others = [other for other in members if other is not member]
        without = blend(others, labels, held_out, full_blend.blender).oof
        contribution = Contribution(
            member.member,
            Score.from_rows(is_correct(labels, full_blend.oof) - is_correct(labels, without)),
            Score.from_rows(row_log_loss(labels, without) - row_log_loss(labels, full_blend.oof)),
            float(mean_correlations[index]),
            _expected_saving_of_another_seed(members, full_blend, index),
            member.seconds / 60,
        )
        contributions.append(contribution)
    return contributions


def mean_saving(contributions: Sequence[Contribution]) -> float:
    """Log loss that a different model is expected to save: the mean of the current members' savings."""
    return float(np.mean([max(0.0, contribution.log_loss_saving.value) for contribution in contributions]))


def estimate_savings(
    complete: Sequence[Predictions], candidates: Sequence[Member], labels: np.ndarray, held_out: np.ndarray
) -> dict[Member, float]:
    """Log loss that each candidate is expected to save, as another seed of a complete member or as a different model.

    Of several seeds of a different model, only the first is expected to save anything.
    """
    full_blend = blend(complete, labels, held_out, "convex")
    new_kind_saving = (
        mean_saving(measure_contributions(complete, full_blend, labels, held_out))
        if len(complete) > 1
        else ASSUMED_SAVING * full_blend.log_loss.value
    )
    indices = {Member.parse(member.member).kind: index for index, member in enumerate(complete)}
    savings: dict[Member, float] = {}
    for candidate in candidates:
        if candidate.kind in indices:
            savings[candidate] = _expected_saving_of_another_seed(complete, full_blend, indices[candidate.kind])
        else:
            is_first = candidate.kind not in {other.kind for other in savings}
            savings[candidate] = new_kind_saving if is_first else 0.0
    return savings


def _expected_saving_of_another_seed(members: Sequence[Predictions], full_blend: Blend, index: int) -> float:
    """Log loss on test rows that another seed of a member is expected to save, if the blend's probabilities are true.

    The networks of the folds differ as those of two seeds do. What the blend gains from averaging all of them instead
    of using one estimates the variance of one; twice as many would halve the variance that the average has left.
    """
    folds = len(members[0].test)
    if folds < 2:
        return 0.0
    combine = full_blend.combination.combine
    fold_means = np.mean([member.test for member in members], axis=1)
    truth = combine(fold_means)
    losses = []
    for fold in range(folds):
        stack = fold_means.copy()
        stack[index] = members[index].test[fold]
        losses.append(_expected_log_loss(truth, combine(stack)))
    gain_of_all_folds = np.mean(losses) - _expected_log_loss(truth, truth)
    variance = gain_of_all_folds / (1 - 1 / folds)
    return max(0.0, float(variance) * (1 / folds - 1 / (2 * folds)))


def _expected_log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean log loss if labels were drawn from `truth`."""
    return float(-(truth * np.log(np.maximum(probabilities, EPSILON))).sum(axis=1).mean())
