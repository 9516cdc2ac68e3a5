"""Whose recipe is first at an accuracy: ours against those that tutorials and winners use.

The held-out rows are looked at after every epoch, to be told, and choose nothing; the clock stands meanwhile.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.task import Task
from competition.data.dataset import Dataset
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.scoring.metrics import accuracy
from competition.scoring.score import Score
from competition.workers.base import Say, in_turn, succeeded
from competition.workers.local import LocalWorkers

# The longest first, so that no worker waits long for another.
RUNNERS = ("vgg:tutorial", "strided:author", "quick", "quick:short")
GOAL = 0.995
FOLD = 0  # that is held out


@dataclass(frozen=True)
class Run:
    """One recipe to its own end."""

    member: str
    seconds: tuple[float, ...]  # of training until the end of each epoch
    accuracies: tuple[float, ...]
    end: Score

    @property
    def until_goal(self) -> float | None:
        """Seconds until the goal was reached first."""
        return next((s for s, reached in zip(self.seconds, self.accuracies, strict=True) if reached >= GOAL), None)


def race(dataset: Dataset, folds: Folds, hear: Say) -> Iterator[Run]:
    """Each recipe on the same rows of one fold, on all cores, one thread each."""
    work = partial(_run, dataset=dataset, folds=folds)
    runners = [Task(Member.named(name), FOLD) for name in RUNNERS]
    for task, outcome in LocalWorkers().run(work, in_turn(runners), hear):
        yield succeeded(task.name, outcome)


def _run(task: Task, say: Say, dataset: Dataset, folds: Folds) -> Run:
    """In a worker: train, and look at the held-out rows after each epoch."""
    member, held_out = task.member, folds.held_out == task.fold
    images, labels = dataset.images[held_out], dataset.labels[held_out]
    network: Any = member.spec.build(member.recipe, 0, dataset.images.shape[1:], len(dataset.classes))
    scores: list[Score] = []
    seconds: list[float] = []
    since = time.perf_counter()

    def look(epoch: Epoch) -> None:
        nonlocal since
        seconds.append(time.perf_counter() - since)
        scores.append(accuracy(labels, network.predict_proba(images)))
        say("epoch", (epoch.done, epoch.of, sum(seconds), scores[-1]))
        since = time.perf_counter()

    network.fit(dataset.images[~held_out], dataset.labels[~held_out], look)
    return Run(member.name, tuple(np.cumsum(seconds).tolist()), tuple(score.value for score in scores), scores[-1])
