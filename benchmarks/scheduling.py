"""Scheduling overhead, measured with tasks that sleep instead of training but return results of the usual size."""

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
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

MODEL_BYTES = 1_270_000  # size of a saved network of `quick`
EPOCHS = 12  # of `quick`; each emits an event


@dataclass(frozen=True)
class SleepTask:
    """A task that sleeps."""

    number: int


@dataclass(frozen=True)
class SchedulingResult:
    """Time and memory of a run whose workers had already started."""

    tasks: int
    sleep: float  # seconds per task
    workers: int
    seconds: float  # wall time of all tasks
    cpu_seconds: float  # CPU time of the driver
    result_bytes: int  # size of a pickled result
    memory: int  # peak memory of the driver in bytes

    @property
    def worker_overhead(self) -> float:
        """Seconds per task in which a worker does not sleep."""
        return self.seconds * self.workers / self.tasks - self.sleep

    @property
    def driver_overhead(self) -> float:
        """CPU seconds of the driver per task."""
        return self.cpu_seconds / self.tasks

    def max_workers(self, seconds: float) -> int:
        """Number of workers that one driver can serve with tasks of this duration."""
        return int(seconds / self.driver_overhead)


def measure_scheduling(workers: Workers, dataset: Dataset, folds: Folds, tasks: int, sleep: float) -> SchedulingResult:
    """Run tasks that sleep this many seconds, and save their results like those of a run."""
    result_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), dataset, folds)
        for count, duration in ((workers.jobs, 0.0), (tasks, sleep)):  # the first round only starts the workers
            function = partial(_sleep, dataset=dataset, folds=folds, seconds=duration)
            queue = take_in_order(SleepTask(number) for number in range(count))
            start, cpu_start = time.perf_counter(), time.process_time()
            for task, outcome in workers.run(function, queue, ignore_event):
                result = result_or_raise(f"sleep {task.number}", outcome)
                result_bytes = result_bytes or len(pickle.dumps(result))
                store.save(Member(f"sleep.{task.number}", "sleep", None, task.number, None), 0, result, [])
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return SchedulingResult(tasks, sleep, workers.jobs, seconds, cpu_seconds, result_bytes, memory)


def _sleep(task: SleepTask, emit: Emit, dataset: Dataset, folds: Folds, seconds: float) -> FoldResult:
    """Sleep in a worker; emit the events and return a result like those of a network."""
    start = time.perf_counter()
    for epoch in range(EPOCHS):
        time.sleep(seconds / EPOCHS)
        emit((epoch + 1, EPOCHS))
    random, classes = np.random.default_rng(task.number), len(dataset.classes)
    held_out, test = (
        random.dirichlet(np.ones(classes), rows).astype(np.float32)
        for rows in ((folds.held_out == 0).sum(), len(dataset.test_images))
    )
    elapsed = time.perf_counter() - start
    return FoldResult(held_out, test, elapsed, random.bytes(MODEL_BYTES), ".keras", {"sleep": "true"})
