"""The only loop over folds: which tasks are still to do, in which order, and what becomes of their results."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial

from competition.crossval.curves import Point, Watch
from competition.crossval.folds import Folds
from competition.crossval.predictions import Predictions
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task, perform
from competition.data.dataset import Dataset
from competition.errors import Problem
from competition.models.member import Member
from competition.workers.base import Failure, Say, Workers

Promises = Callable[[Sequence[Predictions], Sequence[Member]], Mapping[Member, float]]  # of (complete, waiting)


def in_order(members: Sequence[Member]) -> list[Member]:
    """Cheap models first, so that something is complete early."""
    return sorted(members, key=lambda member: member.spec.seconds)


def unfinished(store: Store, members: Sequence[Member]) -> dict[Task, str]:
    """The tasks that have to be done, in order, each with the reason."""
    tasks = (Task(member, fold) for member in in_order(members) for fold in range(store.folds.count))
    reasons = ((task, store.changed(task.member, task.fold)) for task in tasks)
    found = {task: reason for task, reason in reasons if reason}
    if missing := next((task.member.name for task in found if task.member.imported), None):
        how = f"python -m competition import {missing.removeprefix('@')} --oof FILE --test FILE"
        raise Problem(f"{missing} is not imported for {store.folds.name}; run `{how}`")
    return found


def cross_validate(
    store: Store,
    members: Sequence[Member],
    workers: Workers,
    hear: Say,
    admits: Callable[[Task], bool] = lambda task: True,
    promises: Promises = lambda complete, waiting: {},
) -> Generator[list[Predictions]]:
    """Train what is unfinished; yield all complete members, in order, whenever there are more.

    `hear` gets (task, what happened, details). A task that `admits` refuses when its turn comes is left out; one that
    fails fails alone, and in the end is a Problem. Cheap members come first; once some are complete, those that promise
    more than others go before them.
    """
    tasks = list(unfinished(store, members))
    left = {member: {task.fold for task in tasks if task.member == member} for member in in_order(members)}
    complete = {member: store.predictions(member) for member, folds in left.items() if not folds}
    if complete:
        yield list(complete.values())
    failed: list[str] = []
    begun: set[Member] = set()
    promised = promises(list(complete.values()), [member for member in left if left[member]]) if complete else {}

    def rank(task: Task) -> float:
        return -math.inf if task.member in begun else -promised.get(task.member, 0.0)

    def take(fits: Callable[[Task], bool]) -> Task | None:
        for task in sorted(filter(fits, tasks), key=rank):
            tasks.remove(task)
            if admits(task):
                begun.add(task.member)
                return task
            hear(task, "dropped")
        return None

    work = partial(_perform, dataset=store.dataset, folds=store.folds)
    for task, outcome in workers.run(work, take, hear):
        if failure := _failure(store, task, outcome):
            failed.append(task.name)
            hear(task, "failed", failure)
            continue
        result, curve = outcome
        store.save(task.member, task.fold, result, curve)
        hear(task, "finished", result)
        left[task.member].discard(task.fold)
        if not left[task.member]:
            complete[task.member] = store.predictions(task.member)
            yield [complete[member] for member in left if member in complete]
            promised = promises(list(complete.values()), [member for member in left if left[member]])
    if failed:
        names = ", ".join(sorted(failed))
        raise Problem(f"{names} failed, as told above; the rest is kept: run again to retry only these")


def _failure(store: Store, task: Task, outcome: tuple[FoldResult, list[Point]] | Failure) -> Failure | None:
    """Why the outcome is none to keep; a result is not if code was edited between the driver's start and the task's."""
    if isinstance(outcome, Failure):
        return outcome
    difference = store.foreign(task.member, outcome[0].made_of)
    return Failure(f"it was {difference} than the driver has", "") if difference else None


def _perform(task: Task, say: Say, dataset: Dataset, folds: Folds) -> tuple[FoldResult, list[Point]]:
    """In a worker: the task, its epochs told to the driver."""
    watch = Watch(dataset, folds.held_out == task.fold)
    return perform(task, dataset, folds, lambda epoch: say("epoch", watch.look(epoch))), watch.points
