"""Events that report what happens to a task, for progress displays and logs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a task has no result."""

    reason: str  # one line for the terminal
    details: str  # a traceback, or what the process wrote to its standard error


@dataclass(frozen=True)
class Event:
    """Something that happened to a task."""

    task: Any


@dataclass(frozen=True)
class Started(Event):
    """A worker started the task."""


@dataclass(frozen=True)
class Emitted(Event):
    """The task's function called `emit(payload)`."""

    payload: Any


@dataclass(frozen=True)
class Retried(Event):
    """The task's worker died; the task is queued again."""

    failure: Failure


@dataclass(frozen=True)
class Failed(Event):
    """The task failed for good."""

    failure: Failure


@dataclass(frozen=True)
class Skipped(Event):
    """The task was not started, as there is no time for it."""


@dataclass(frozen=True)
class Finished(Event):
    """The task has a result."""

    result: Any


OnEvent = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing."""
