"""Which members help the blend, and what another network of a kind would bring."""

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

ASSUMED_SAVING = 0.3  # the share of its log loss that a single member is thought to leave to an unlike second one


@dataclass(frozen=True)
class Contribution:
    """What a member brings to the blend, measured out of fold by leaving it out, and what a twin of it might."""

    member: str
    accuracy: Score  # gained by it: the blend with it against the blend without
    log_loss: Score  # saved by it
    correlation: float  # of its errors with the others', in the mean
    another_seed: float  # log loss that the test predictions would lose by another seed of it, expected
    minutes: float  # that a twin takes of one core


def measure_contributions(
    members: Sequence[Predictions], whole: Blend, labels: np.ndarray, held_out: np.ndarray
) -> list[Contribution]:
    """One line for each of several members; the blend without it is learned and cross-fitted in the same way."""
    if len(members) == 1:
        return []
    shared = error_correlation(np.stack([is_correct(labels, member.oof) for member in members]))
    correlations = ((shared.sum(axis=1) - shared.diagonal()) / (len(members) - 1)).tolist()
    found = []
    for place, member in enumerate(members):
        others = [other for other in members if other is not member]
        without = blend(others, labels, held_out, whole.blender).oof
        accuracy = Score.from_rows(is_correct(labels, whole.oof) - is_correct(labels, without))
        log_loss = Score.from_rows(row_log_loss(labels, without) - row_log_loss(labels, whole.oof))
        twin = _expected_saving_of_another_seed(members, whole, place)
        found.append(Contribution(member.member, accuracy, log_loss, correlations[place], twin, member.seconds / 60))
    return found


def mean_saving(helped: Sequence[Contribution]) -> float:
    """Log loss that an unlike model is expected to save: what those that are there do in the mean."""
    return float(np.mean([max(0.0, one.log_loss.value) for one in helped]))


def estimate_savings(
    complete: Sequence[Predictions], candidates: Sequence[Member], labels: np.ndarray, held_out: np.ndarray
) -> dict[Member, float]:
    """Log loss that each candidate should save: as a twin where its kind is complete, else as an unlike model.

    Of several seeds of a kind that is not complete only the first is unlike; of the others nothing is known yet.
    """
    whole = blend(complete, labels, held_out, "convex")
    new = (
        mean_saving(measure_contributions(complete, whole, labels, held_out))
        if len(complete) > 1
        else ASSUMED_SAVING * whole.log_loss.value
    )
    places = {Member.parse(member.member).kind: place for place, member in enumerate(complete)}
    found: dict[Member, float] = {}
    for one in candidates:
        is_first = one.kind not in {other.kind for other in found}
        found[one] = (
            _expected_saving_of_another_seed(complete, whole, places[one.kind])
            if one.kind in places
            else new * is_first
        )
    return found


def _expected_saving_of_another_seed(members: Sequence[Predictions], whole: Blend, place: int) -> float:
    """The expected log loss that a second network of a member's kind would save on test rows.

    Each fold's network is one of the kind. How much the blend gains from having all of them instead of one tells the
    variance of one; of what is left of it, twice as many would take away half. What the labels are is taken from the
    blend.
    """
    folds = len(members[0].test)
    if folds < 2:
        return 0.0
    by_fold = [np.stack([member.test[fold] for member in members]) for fold in range(folds)]
    everyone = np.mean([member.test for member in members], axis=1)
    together = whole.combination.combine(everyone)
    alone = []
    for stack in by_fold:
        mixed = everyone.copy()
        mixed[place] = stack[place]
        alone.append(_expected_loss(together, whole.combination.combine(mixed)))
    one_to_all = np.mean(alone) - _expected_loss(together, together)
    variance = one_to_all / (1 - 1 / folds)
    return max(0.0, float(variance) * (1 / folds - 1 / (2 * folds)))


def _expected_loss(truth: np.ndarray, said: np.ndarray) -> float:
    """The mean log loss if the labels were drawn from `truth`."""
    return float(-(truth * np.log(np.maximum(said, EPSILON))).sum(axis=1).mean())
