"""Train the members of a blend once more, on all rows, to predict the test rows (REFIT).

Cross-validation has given the score and the blend by then; nothing is measured or chosen on models of all rows.
"""

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from competition.cli.run import Run
from competition.cli.training import cross_validate_run
from competition.errors import UserError, option

if TYPE_CHECKING:
    from competition.crossval.task import Task
    from competition.ensemble.blend import Blend
    from competition.models.member import Member


def check_refits(run: Run) -> None:
    """Raise UserError if members are to be trained on all rows that were imported."""
    if run.refit and (imported := next((member for member in run.members if member.is_imported), None)):
        raise UserError(
            f"{imported.name} was imported and cannot be trained on all rows; "
            f"leave {option('refit', run.refit)} out, or train without {imported.name}"
        )


def leave_time_for_refits(run: Run) -> Run:
    """The run with that part of its budget that cross-validation may take."""
    if not run.budget or not run.refit:
        return run
    folds = run.store.folds
    rows = folds.count * folds.training_rows, run.refit * len(folds.held_out)
    return replace(run, budget=run.budget * rows[0] / sum(rows))


def use_finished_refits(run: Run, blended: "Blend") -> "Blend":
    """The blend as its models of all rows predict the test rows; as it is, unless all of them are finished."""
    if not run.refit:
        return blended
    store, members = run.store.refits(run.refit), _weighted_members(run, blended)
    tests = {member.name: store.predictions(member).test for member in members}
    if not all(np.isfinite(test).all() for test in tests.values()):
        return blended
    return blended.with_refits([tests.get(name) for name in blended.members], run.refit)


def pending_refits(run: Run, blended: "Blend") -> "list[Task]":
    """The trainings on all rows that are not finished."""
    from competition.crossval.run import pending_tasks

    return list(pending_tasks(run.store.refits(run.refit), _weighted_members(run, blended)))


def train_refits(run: Run, blended: "Blend") -> "Blend":
    """Train the members of the blend on all rows, and let these models predict the test rows.

    The blend is returned as it is if not all of them are finished within the run's budget.
    """
    members = _weighted_members(run, blended)
    slowdowns = {member.name: _slowdown(run, member) for member in members}
    refits = replace(run, store=run.store.refits(run.refit), members=members, slowdowns=slowdowns)
    with closing(cross_validate_run(refits)) as stages:
        for _ in stages:
            pass
    return use_finished_refits(run, blended)


def _weighted_members(run: Run, blended: "Blend") -> "tuple[Member, ...]":
    """The members that have a weight in the blend."""
    weights = dict(zip(blended.members, blended.combination.weights, strict=True))
    return tuple(member for member in run.members if weights.get(member.name))


def _slowdown(run: Run, member: "Member") -> float:
    """How much slower than on the reference machine the member's folds were trained."""
    store, shape = run.store, run.dataset.images.shape[1:]
    seconds = [store.seconds(member, task.fold) for task in store.tasks(member)]
    return float(np.mean(seconds)) / member.training_seconds(store.folds.training_rows, shape)
