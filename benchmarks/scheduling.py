"""What handing out costs: tasks that sleep in place of training, with the payloads of real ones."""

import pickle
import resource
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.store import Store
from competition.crossval.task import FoldResult
from competition.data.dataset import Dataset
from competition.models.member import Member
from competition.workers.base import Say, Workers, in_turn, succeeded

KEPT = 1_270_000  # bytes of a network as `quick` keeps it
EPOCHS = 12  # of `quick`, each of which is told


@dataclass(frozen=True)
class StandIn:
    """A task that sleeps."""

    number: int


@dataclass(frozen=True)
class Rehearsal:
    """How it went, all workers ready."""

    tasks: int
    asleep: float  # seconds of each task
    workers: int
    seconds: float  # from the first task to the last
    busy: float  # seconds of the driver's processor
    received: int  # bytes of a task's result
    memory: int  # bytes that the driver held at most

    @property
    def lost(self) -> float:
        """Seconds of a worker's time for each task, beside its sleep."""
        return self.seconds * self.workers / self.tasks - self.asleep

    @property
    def handling(self) -> float:
        """Seconds of the driver for each task."""
        return self.busy / self.tasks

    def most(self, seconds: float) -> int:
        """Workers that one driver keeps busy with tasks of this length."""
        return int(seconds / self.handling)


def rehearse(workers: Workers, dataset: Dataset, folds: Folds, tasks: int, asleep: float) -> Rehearsal:
    """Hand out so many, and keep what comes back as a run does."""
    received = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), dataset, folds)
        for number, seconds in ((workers.jobs, 0.0), (tasks, asleep)):  # the first only makes the workers ready
            work = partial(_sleep, dataset=dataset, folds=folds, seconds=seconds)
            since, busy = time.perf_counter(), time.process_time()
            for task, outcome in workers.run(work, in_turn(StandIn(one) for one in range(number)), _deaf):
                result = succeeded(f"stand-in {task.number}", outcome)
                received = received or len(pickle.dumps(result))
                store.save(Member(f"stand-in.{task.number}", "stand-in", None, task.number, None), 0, result, [])
            since, busy = time.perf_counter() - since, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Rehearsal(tasks, asleep, workers.jobs, since, busy, received, memory)


def _sleep(task: StandIn, say: Say, dataset: Dataset, folds: Folds, seconds: float) -> FoldResult:
    """In a worker: a network's words and its result, without the network."""
    since = time.perf_counter()
    for epoch in range(EPOCHS):
        time.sleep(seconds / EPOCHS)
        say("epoch", (epoch + 1, EPOCHS))
    random, classes = np.random.default_rng(task.number), len(dataset.classes)
    held_out, test = (
        random.dirichlet(np.ones(classes), rows).astype(np.float32)
        for rows in ((folds.held_out == 0).sum(), len(dataset.test_images))
    )
    return FoldResult(held_out, test, time.perf_counter() - since, random.bytes(KEPT), ".keras", {"stand-in": "true"})


def _deaf(*said: object) -> None:
    """Nobody watches."""
