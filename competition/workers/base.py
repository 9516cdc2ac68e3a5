"""Where tasks run and how they are handed out, whatever the workers are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from competition.errors import Problem

Say = Callable[..., None]
Work = Callable[[Any, Say], Any]
Take = Callable[[Callable[[Any], bool]], Any | None]
AnyWorker = TypeVar("AnyWorker", bound="Worker")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result: a line for the terminal, and all that is known."""

    reason: str
    details: str


def succeeded(name: str, outcome: Any) -> Any:
    """The task's result; where there is none, a Problem that tells why."""
    if isinstance(outcome, Failure):
        raise Problem(f"{name} failed: {outcome.reason}\n{outcome.details}")
    return outcome


@dataclass(frozen=True)
class Death:
    """A worker ended without an answer; its task may be tried again."""

    failure: Failure


class Worker(Protocol):
    """One process that works on one task at a time."""

    def fits(self, task: Any) -> bool:
        """Whether the task may be done here."""


class Crew(Protocol[AnyWorker]):
    """Workers that are ready for one kind of work."""

    def idle(self) -> list[AnyWorker]:
        """Those that have nothing to do."""

    def begin(self, worker: AnyWorker, task: Any) -> None:
        """Give an idle worker a task."""

    def ended(self) -> list[tuple[Any, Any]]:
        """(task, result or Failure or Death) of what has ended since the last time, or after waiting for a moment."""

    def heard(self) -> Iterable[tuple]:
        """(task, what was said) since the last time, all that led to what has ended included."""


class Workers(ABC):
    """Where tasks run; how they are handed out is the same everywhere."""

    attempts = 2  # a worker can die of its neighbours' hunger for memory, so its task gets a second one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return  # workers on this machine end with each run

    @property
    @abstractmethod
    def jobs(self) -> int:
        """How many tasks run at a time."""

    def able(self, task: Any) -> int:
        """How many of them can do such a task."""
        return self.jobs

    @abstractmethod
    def crew(self, work: Work) -> AbstractContextManager[Crew]:
        """Workers that do work(task, say) for each of their tasks."""

    def run(self, work: Work, take: Take, hear: Say) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result or Failure) as tasks finish.

        `take` is asked for the next task whenever a worker is idle, and given what tells whether a task fits that
        worker. The run ends when nobody works and there is none. `hear` gets (task, what its worker said). Both are
        called in the driver's thread.
        """
        tried: dict[Any, int] = {}
        again: list[Any] = []
        with self.crew(work) as crew:
            while True:
                for worker in crew.idle():
                    first = next((task for task in again if worker.fits(task)), None)
                    if first is not None:
                        again.remove(first)
                    elif (first := take(worker.fits)) is None:
                        continue
                    tried[first] = tried.get(first, 0) + 1
                    crew.begin(worker, first)
                    hear(first, "started")
                if not tried:
                    return
                outcomes = crew.ended()
                for said in crew.heard():
                    hear(*said)
                for task, outcome in outcomes:
                    if isinstance(outcome, Death) and tried[task] < self.attempts:
                        again.append(task)
                        hear(task, "again", outcome.failure)
                        continue
                    del tried[task]
                    yield task, outcome.failure if isinstance(outcome, Death) else outcome


def in_turn(tasks: Iterable[Any]) -> Take:
    """The tasks in the order given, each as soon as a worker asks that it fits."""
    waiting = list(tasks)

    def take(fits: Callable[[Any], bool]) -> Any | None:
        first = next((task for task in waiting if fits(task)), None)
        if first is not None:
            waiting.remove(first)
        return first

    return take


def wants_gpu(task: Any) -> bool:
    """Whether the task says so; most say nothing."""
    return getattr(task, "wants_gpu", False)
