"""How long this machine takes to train a network, measured by a few steps of it."""

from dataclasses import replace
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, train_member
from competition.data.dataset import Dataset
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.workers.base import Emit, Workers, take_in_order
from competition.workers.events import Failure, ignore_event

MEASURED_STEPS = 40
OVERHEAD = 1.15  # prediction, and the choice of the augmentation


def measure_fold_seconds(member: Member, store: Store, workers: Workers) -> float | None:
    """Estimate the seconds of a fold while all workers train; None if the training failed."""
    tasks = [Task(member, fold) for fold in range(min(workers.capacity(Task(member, 0)), store.folds.count))]
    outcomes = workers.run(partial(_time_step, dataset=store.dataset), take_in_order(tasks), ignore_event)
    seconds = [outcome for _, outcome in outcomes if not isinstance(outcome, Failure)]
    if not seconds:
        return None
    steps = member.recipe.steps_per_epoch(round(len(store.dataset.labels) * (1 - 1 / store.folds.count)))
    return OVERHEAD * steps * int(member.recipe.epochs_for(steps)) * max(seconds)


def _time_step(task: Task, emit: Emit, dataset: Dataset) -> float:
    """Train on some of the rows, in a worker, and return the seconds of a step in the second epoch.

    The first one includes compilation.
    """
    recipe = replace(task.member.recipe, epochs=2, min_steps=0)
    if recipe.augmentation:  # which nothing is measured for
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, symmetries=(), strength=1.0))
    batch_size = min(recipe.batch_size, len(dataset.labels))
    rows = np.arange(len(dataset.labels)) < MEASURED_STEPS * batch_size
    seconds: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        seconds.append(batch_size / epoch.images_per_second)

    train_member(replace(task, member=replace(task.member, recipe=recipe)), dataset, rows, on_epoch)
    return seconds[-1]
