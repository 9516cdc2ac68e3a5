"""Time to a given accuracy: this project's recipes compared with those of tutorials and winners.

Held-out accuracy is measured after every epoch; that time is not counted, and the accuracy influences no training.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.task import Task
from competition.data.dataset import Dataset
from competition.models.interface import Epoch, Target
from competition.models.member import Member
from competition.models.networks.recipe import native_precision
from competition.scoring.metrics import accuracy
from competition.scoring.standard_error import Score
from competition.workers.base import Emit, result_or_raise, take_in_order
from competition.workers.events import OnEvent
from competition.workers.local import LocalWorkers

# Longest first, so that all workers finish at about the same time.
RECIPES = ("vgg:tutorial", "strided:author", "quick", "quick:short")
GOAL = 0.995
FOLD = 0  # held out


@dataclass(frozen=True)
class Run:
    """A complete training of one recipe."""

    member: str
    precision: str
    seconds: tuple[float, ...]  # cumulative training time at the end of each epoch
    accuracies: tuple[float, ...]  # held-out, after each epoch
    final_accuracy: Score  # held-out, with its standard error

    @property
    def seconds_to_goal(self) -> float | None:
        """Training time until the first epoch that reaches the goal; None if no epoch does."""
        epochs = zip(self.seconds, self.accuracies, strict=True)
        return next((seconds for seconds, accuracy in epochs if accuracy >= GOAL), None)


def race_recipes(dataset: Dataset, folds: Folds, on_event: OnEvent) -> Iterator[Run]:
    """Train each recipe on the same rows of one fold, single-threaded, on all cores in parallel.

    Each is trained in float32 and, where it differs, in the precision that is fastest here.
    """
    function = partial(_train, dataset=dataset, folds=folds)
    members = [
        replace(member, recipe=replace(member.recipe, precision=precision))
        for member in map(Member.parse, RECIPES)
        for precision in sorted({"float32", native_precision()})
    ]
    tasks = [Task(member, FOLD) for member in members]
    for task, outcome in LocalWorkers().run(function, take_in_order(tasks), on_event):
        yield result_or_raise(task.name, outcome)


def _train(task: Task, emit: Emit, dataset: Dataset, folds: Folds) -> Run:
    """Train in a worker; emit precision, epoch, epochs, seconds and held-out accuracy after each epoch."""
    member, held_out = task.member, folds.held_out == task.fold
    images, labels = dataset.images[held_out], dataset.labels[held_out]
    network: Any = member.spec.build(
        member.recipe, 0, dataset.images.shape[1:], Target.of(dataset.labels, dataset.classes)
    )
    scores: list[Score] = []
    seconds: list[float] = []
    start = time.perf_counter()

    def on_epoch_end(epoch: Epoch) -> None:
        nonlocal start
        seconds.append(time.perf_counter() - start)
        scores.append(accuracy(labels, network.predict_proba(images)))
        emit((member.recipe.precision, epoch.number, epoch.total, sum(seconds), scores[-1]))
        start = time.perf_counter()

    network.fit(dataset.images[~held_out], dataset.labels[~held_out], on_epoch_end)
    accuracies = tuple(score.value for score in scores)
    return Run(member.name, member.recipe.precision, tuple(np.cumsum(seconds).tolist()), accuracies, scores[-1])
