"""How long the workers take to train a network, measured by a few steps of it."""

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, train_member
from competition.data.dataset import Dataset
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.models.networks.augmentation_choice import compares_augmentations
from competition.workers.base import Emit, Workers, take_in_order
from competition.workers.events import Failure, ignore_event

MEASURED_STEPS = 40  # in each of two epochs
PREDICTION_SHARE = 0.07  # of the time of the steps
COMPARISON_STEPS = 400  # of `detail` that take as long as the comparison of augmentations by small networks
MAX_COMPARISON_SECONDS = 60.0


@dataclass(frozen=True)
class TrainingSpeed:
    """What the training of a fold costs."""

    start: float  # seconds before the first step: libraries, building and compiling
    step: float  # seconds of a step while others train as well

    def fold_seconds(self, member: Member, store: Store) -> float:
        """Estimate the seconds of a fold of a network with these layers, whatever its number of epochs."""
        steps = member.recipe.steps(round(store.folds.training_rows))
        seconds = self.start + steps * self.step * (1 + PREDICTION_SHARE)
        if compares_augmentations(store.dataset.images, member.recipe.augmentation, steps):
            seconds += min(COMPARISON_STEPS * self.step, MAX_COMPARISON_SECONDS)
        return seconds


def measure_speed(member: Member, store: Store, workers: Workers) -> TrainingSpeed | Failure:
    """Time some steps of the network on each worker that would train a fold of it at the same time."""
    tasks = [Task(member, fold) for fold in range(min(workers.capacity(Task(member, 0)), store.folds.count))]
    outcomes = workers.run(partial(_time_steps, dataset=store.dataset), take_in_order(tasks), ignore_event)
    results = [outcome for _, outcome in outcomes]
    speeds = [result for result in results if isinstance(result, TrainingSpeed)]
    if not speeds:
        return next(result for result in results if isinstance(result, Failure))
    return TrainingSpeed(
        float(np.mean([speed.start for speed in speeds])), float(np.mean([speed.step for speed in speeds]))
    )


def _time_steps(task: Task, emit: Emit, dataset: Dataset) -> TrainingSpeed:
    """Train for two epochs on some of the rows, in a worker; the first epoch includes compilation."""
    start = time.perf_counter()
    recipe = replace(task.member.recipe, epochs=2, min_steps=0)
    if recipe.augmentation:  # without comparing augmentations
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, symmetries=(), strength=1.0))
    batch_size, count = min(recipe.batch_size, len(dataset.labels)), len(dataset.labels)
    rows = np.zeros(count, dtype=bool)
    rows[np.linspace(0, count - 1, min(MEASURED_STEPS * batch_size, count)).astype(int)] = True
    epochs: list[Epoch] = []
    train_member(replace(task, member=replace(task.member, recipe=recipe)), dataset, rows, epochs.append)
    step = batch_size / epochs[-1].images_per_second
    steps = 2 * recipe.steps_per_epoch(int(rows.sum()))
    return TrainingSpeed(max(0.0, time.perf_counter() - start - steps * step), step)
