"""The only loop over folds: which tasks are still to do, in which order, and what becomes of their results."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from competition import models
from competition.compute import Failure, LocalWorkers, Say
from competition.data import Dataset
from competition.folds import Folds
from competition.models import Member
from competition.problem import Problem
from competition.store import Predictions, Store
from competition.task import FoldResult, Task, perform


def unfinished(store: Store, members: Sequence[Member]) -> list[tuple[Task, str]]:
    """The tasks that have to be done, cheap members first, each with the reason."""
    tasks = (Task(member, fold) for member in in_order(members) for fold in range(store.folds.count))
    reasons = ((task, store.changed(task.member, task.fold)) for task in tasks)
    return [(task, reason) for task, reason in reasons if reason]


def in_order(members: Sequence[Member]) -> list[Member]:
    """Cheap models first, so that something is complete early."""
    return sorted(members, key=lambda member: models.load(member.model).seconds)


def cross_validate(store: Store, members: Sequence[Member], workers: LocalWorkers) -> Generator[list[Predictions]]:
    """Train what is unfinished; yield all complete members whenever there are more. A task that fails fails alone."""
    tasks = [task for task, _ in unfinished(store, members)]
    left = {member: {task.fold for task in tasks if task.member == member} for member in in_order(members)}
    complete = [store.predictions(member) for member, folds in left.items() if not folds]
    if complete:
        yield list(complete)
    failed: list[str] = []
    for task, outcome in workers.run(partial(_perform, dataset=store.dataset, folds=store.folds), tasks):
        if isinstance(outcome, Failure):
            failed.append(task.name)
            workers.hear(task, "failed", outcome)
            continue
        store.save(task.member, task.fold, outcome)
        workers.hear(task, "finished", outcome)
        left[task.member].discard(task.fold)
        if not left[task.member]:
            complete.append(store.predictions(task.member))
            yield list(complete)
    if failed:
        raise Problem(f"{', '.join(failed)} failed, as told above; the rest is kept: run again to retry only these")


def _perform(task: Task, say: Say, dataset: Dataset, folds: Folds) -> FoldResult:
    """In a worker: the task, its epochs told to the driver."""

    def observer(done: int, of: int) -> Any:
        say("epoch", (done, of))

    return perform(task, dataset, folds, observer)
