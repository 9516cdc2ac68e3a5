"""How tasks are scheduled on workers, whether these are local processes or a cluster."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from competition.errors import DiskError, UserError
from competition.workers.events import Emitted, Failure, OnEvent, Retried, Started

Emit = Callable[[Any], None]  # sends a picklable payload to the driver
TaskFunction = Callable[[Any, Emit], Any]  # (task, emit) -> result, called in a worker
Take = Callable[[Callable[[Any], bool]], Any | None]  # (fits) -> the next task for which fits(task) is true, or None
AnyWorker = TypeVar("AnyWorker", bound="Worker")


def result_or_raise(name: str, outcome: Any) -> Any:
    """Return the result of a task, or raise if the task failed."""
    if isinstance(outcome, Failure):
        raise UserError(f"{name} failed: {outcome.reason}\n{outcome.details}")
    return outcome


@dataclass(frozen=True)
class LocalFolder:
    """A folder for what stays on a worker's machine; a worker of a cluster has another folder than the driver."""

    path: Path
    name: str  # of the folder on the workers of a cluster
    is_drivers: bool = True


@dataclass(frozen=True)
class WorkerDied:
    """Outcome of a task whose worker ended without a result; the task can be retried."""

    failure: Failure


class Worker(Protocol):
    """A process that runs one task at a time."""

    def fits(self, task: Any) -> bool:
        """Whether the worker should run this task."""


class Pool(Protocol[AnyWorker]):
    """Workers that run one function."""

    def idle(self) -> list[AnyWorker]:
        """Return the idle workers."""

    def submit(self, worker: AnyWorker, task: Any) -> None:
        """Start a task on an idle worker."""

    def wait(self) -> list[tuple[Any, Any]]:
        """Return (task, result or Failure, WorkerDied or DiskError) of tasks that ended; wait a moment if none has."""

    def messages(self) -> Iterable[tuple[Any, Any]]:
        """Yield (task, payload) emitted since the last call; of an ended task, only if its worker was lost."""

    def close(self) -> None:
        """Stop all tasks and release the workers."""


class Workers(ABC):
    """Schedules tasks on workers; subclasses provide the pool of workers."""

    max_attempts = 2  # a worker can be killed because others use up the memory, so its task is retried once
    max_running = sys.maxsize  # number of tasks at a time, of however many workers
    share_files = True  # whether the workers can read the driver's files

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return  # local workers end with each run

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Number of tasks that run at a time."""

    def capacity(self, task: Any) -> int:
        """Return how many workers can run such a task."""
        return self.jobs

    @abstractmethod
    def open_pool(self, function: TaskFunction) -> AbstractContextManager[Pool[Any]]:
        """Return a pool whose workers call `function(task, emit)`; it is closed when the block ends."""

    def run(self, function: TaskFunction, take: Take, on_event: OnEvent) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result or Failure) as tasks finish.

        Whenever a worker is idle, `take` is called with that worker's `fits` and returns the next task or None. The run
        ends when no task is running or waiting. `on_event` receives Started, Emitted and Retried. Both are called in
        the driver's thread. If a worker cannot write to the disk, this raises DiskError.
        """
        attempts: dict[Any, int] = {}  # of the tasks that have not finished
        retries: list[Any] = []
        with self.open_pool(function) as pool:
            while attempts or _has_tasks(take):  # `idle` of a cluster blocks until a worker is free
                for worker in pool.idle():
                    if len(attempts) - len(retries) >= self.max_running:
                        break
                    task = next((task for task in retries if worker.fits(task)), None)
                    if task is not None:
                        retries.remove(task)
                    elif (task := take(worker.fits)) is None:
                        continue
                    attempts[task] = attempts.get(task, 0) + 1
                    pool.submit(worker, task)
                    on_event(Started(task))
                if not attempts and not _has_tasks(take):  # otherwise, wait for a worker that fits the others
                    return
                outcomes = pool.wait()
                for task, payload in pool.messages():
                    on_event(Emitted(task, payload))
                for task, outcome in sorted(outcomes, key=lambda ended: isinstance(ended[1], DiskError)):
                    if isinstance(outcome, DiskError):
                        raise outcome
                    if isinstance(outcome, WorkerDied) and attempts[task] < self.max_attempts:
                        retries.append(task)
                        on_event(Retried(task, outcome.failure))
                        continue
                    del attempts[task]
                    yield task, outcome.failure if isinstance(outcome, WorkerDied) else outcome


def _has_tasks(take: Take) -> bool:
    """Whether any task is left; takes none."""
    offered = False

    def decline(task: Any) -> bool:
        nonlocal offered
        offered = True
        return False

    take(decline)
    return offered


def take_in_order(tasks: Iterable[Any]) -> Take:
    """Return a `take` for a fixed list of tasks; each worker gets the first one that fits."""
    waiting = list(tasks)

    def take(fits: Callable[[Any], bool]) -> Any | None:
        task = next((task for task in waiting if fits(task)), None)
        if task is not None:
            waiting.remove(task)
        return task

    return take


def prefers_gpu(task: Any) -> bool:
    """Whether the task has a true `wants_gpu`."""
    return getattr(task, "wants_gpu", False)
