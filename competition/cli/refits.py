"""Train the members of a blend once more, on all rows, to predict the test rows (REFIT).

Cross-validation has given the score and the blend by then; nothing is measured or chosen with models that were trained
on all rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from competition.cli.run import Run
from competition.cli.train import train_members
from competition.errors import UserError, option

if TYPE_CHECKING:
    from competition.crossval.predictions import Predictions
    from competition.crossval.store import Store
    from competition.crossval.task import Task
    from competition.ensemble.blend import Blend, BlendSearch
    from competition.models.member import Member


def check_refits(run: Run) -> None:
    """Raise UserError if an imported member would have to be trained on all rows."""
    if run.refit and (imported := next((member for member in run.members if member.is_imported), None)):
        raise UserError(
            f"{imported.name} was imported and cannot be trained on all rows; "
            f"omit {option('refit', run.refit)}, or train without {imported.name}"
        )


def leave_time_for_refits(run: Run) -> Run:
    """The run with its budget reduced to the share of cross-validation."""
    if not run.budget or not run.refit:
        return run
    cross_validation, refits = (
        _reference_seconds(store, run.members) for store in (run.store, run.store.refits(run.refit))
    )
    return replace(run, budget=run.budget * cross_validation / (cross_validation + refits))


def blend_members(run: Run, complete: "Sequence[Predictions]") -> "tuple[BlendSearch, Blend]":
    """Blend the complete members; their models trained on all rows predict the test rows if all are finished."""
    from competition.ensemble.blend import BlendSearch

    search = BlendSearch(complete, run.dataset.labels, run.store.folds.held_out, run.groups, run.label_metric)
    return search, _use_finished_refits(run, search.blend(run.blend))


def _use_finished_refits(run: Run, blended: "Blend") -> "Blend":
    """The blend with test predictions by the models trained on all rows; unchanged if any is missing."""
    if not run.refit or pending_refits(run, blended):
        return blended
    store = run.store.refits(run.refit)
    tests = {member.name: store.predictions(member).test for member in _weighted_members(run, blended)}
    return blended.with_refits([tests.get(name) for name in blended.members], run.refit)


def pending_refits(run: Run, blended: "Blend") -> "list[Task]":
    """The models that are still to be trained on all rows."""
    from competition.crossval.run import pending_tasks

    return list(pending_tasks(run.store.refits(run.refit), _weighted_members(run, blended)))


def train_refits(run: Run, blended: "Blend") -> "Blend":
    """Train the members of the blend on all rows, and let these models predict the test rows.

    The blend is unchanged if the run's budget does not suffice for all of them.
    """
    members = _weighted_members(run, blended)
    slowdowns = {member.name: _slowdown(run, member) for member in members}
    train_members(replace(run, store=run.store.refits(run.refit), members=members, slowdowns=slowdowns))
    return _use_finished_refits(run, blended)


def _weighted_members(run: Run, blended: "Blend") -> "tuple[Member, ...]":
    """The members that have a weight in the blend."""
    weights = dict(zip(blended.members, blended.combination.weights, strict=True))
    return tuple(member for member in run.members if weights.get(member.name))


def _slowdown(run: Run, member: "Member") -> float:
    """How much slower than on the reference machine the member's folds were trained; 1 if that is not known."""
    seconds = sum(run.store.seconds(member, task.fold) for task in run.store.tasks(member))
    return seconds / _reference_seconds(run.store, [member]) if seconds else 1.0


def _reference_seconds(store: "Store", members: "Sequence[Member]") -> float:
    """Seconds that one core of the reference machine needs to train all models of these members."""
    return sum(len(store.tasks(member)) * store.reference_seconds(member) for member in members)
