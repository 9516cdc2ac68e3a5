"""How far the training is: what is done, what runs, how long the rest will take."""

import heapq
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from competition.crossval.curves import Point
from competition.crossval.run import in_order
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.errors import Problem
from competition.models.member import Member
from competition.scoring.metrics import Metric
from competition.scoring.score import Score
from competition.workers.base import Workers


@dataclass
class Running:
    """A task in the hands of a worker."""

    since: float = field(default_factory=time.monotonic)
    point: Point | None = None  # of its curve, the last
    heard: float = 0.0  # when that was

    def hear(self, point: Point) -> None:
        """Take in an epoch."""
        self.point, self.heard = point, time.monotonic()

    def left(self, expected: float) -> float:
        """Seconds to go, by its epochs where it has told of some."""
        elapsed = time.monotonic() - self.since
        if self.point:
            return max(0.0, (self.heard - self.since) * self.point.epochs / self.point.epoch - elapsed)
        return max(0.0, expected - elapsed)


class Progress:
    """Which folds are done, which run, and how long the rest will take."""

    def __init__(self, store: Store, members: Sequence[Member], workers: Workers, metric: Metric) -> None:
        self.store = store
        self.metric = metric
        self.members = in_order(members)
        self.workers = workers
        self.running: dict[Task, Running] = {}
        self.seconds: dict[str, dict[int, float]] = {member.name: {} for member in members}
        self.said: dict[str, np.ndarray] = {}
        self.scores: dict[str, Score] = {}  # on the rows that are predicted so far
        for member in members:
            self.said[member.name] = store.predictions(member).oof
            self._score(member.name)
            known = np.isfinite(self.said[member.name][:, 0])
            for fold in np.unique(store.folds.held_out[known]).tolist():
                self.seconds[member.name][fold] = store.seconds(member, fold)
        self.dropped: list[Member] = []  # for want of time
        self.trained: list[tuple[float, float]] = []  # (seconds, usual seconds) of the folds of this run

    def hear(self, task: Task, what: str, detail: Any = None) -> str | None:
        """Take in what happened; a line for those who read a log."""
        if what == "started":
            self.running[task] = Running()
        elif what == "epoch" and task in self.running:
            self.running[task].hear(detail)
        elif what == "dropped":
            if task.member in self.dropped:
                return None
            self.dropped.append(task.member)
            return f"{task.member.name} is left out: it needs {clock(self.least_for(task.member))}"
        elif what == "again":
            self.running.pop(task, None)
            return f"{task.name} is tried again: {detail.reason}"
        elif what == "failed":
            self.running.pop(task, None)
            return f"{task.name} failed: {detail.reason}\n{detail.details}".rstrip()
        elif what == "finished":
            self.running.pop(task, None)
            name, held_out = task.member.name, self.store.folds.held_out == task.fold
            self.seconds[name][task.fold] = detail.seconds
            self.trained.append((detail.seconds, self._usual(task.member)))
            self.said[name][held_out] = detail.held_out
            self._score(name)
            took, left = clock(detail.seconds), clock(self.left())
            remark = f", {detail.remark}" if detail.remark else ""
            return f"{task.name} took {took}{remark}; {name} has {self.standing(name)} so far; to go {left}"
        return None

    def standing(self, name: str) -> str:
        """The member's score so far, by the competition's metric."""
        return self.metric.told(self.scores.get(name))

    def _score(self, name: str) -> None:
        """Score what the member predicted so far, where the metric has a word on so few rows."""
        known = np.isfinite(self.said[name][:, 0])
        if known.any():
            with suppress(Problem):
                self.scores[name] = self.metric.score(self.store.dataset.labels[known], self.said[name][known])

    def left(self) -> float:
        """Seconds to go, all workers together; a fold is one worker's, however many are idle."""
        members = [member for member in self.members if member not in self.dropped]
        shared = sum(self.left_for(member) / self._workers(member) for member in members)
        return max([shared, *map(self.least_for, members)])

    def least_for(self, member: Member) -> float:
        """Seconds until the member is complete, if all workers that can turn to it."""
        expected, workers = self.expected(member), self._workers(member)
        running = sorted(run.left(expected) for run in self._running(member))
        waiting = self._waiting(member)
        ends = [0.0] * max(workers - len(running), 0) + running
        for _ in range(waiting):
            heapq.heapreplace(ends, ends[0] + expected)
        return max(ends)

    def fits(self, member: Member, seconds: float) -> bool:
        """Whether all that the member still needs can be done in so many seconds, all workers together."""
        return self.least_for(member) <= seconds

    def left_for(self, member: Member) -> float:
        """Seconds of work that the member still has."""
        expected = self.expected(member)
        return sum(run.left(expected) for run in self._running(member)) + self._waiting(member) * expected

    def _running(self, member: Member) -> list[Running]:
        return [run for task, run in list(self.running.items()) if task.member == member]

    def _waiting(self, member: Member) -> int:
        """How many of its folds nobody has in hand."""
        return self.store.folds.count - len(self.seconds[member.name]) - len(self._running(member))

    def _workers(self, member: Member) -> int:
        return self.workers.able(Task(member, 0))

    def expected(self, member: Member) -> float:
        """Seconds for one fold of it, by its own folds or else by how fast the others go here."""
        if done := self.seconds[member.name]:
            return float(np.mean(list(done.values())))
        speed = sum(took for took, _ in self.trained) / (sum(usual for _, usual in self.trained) or 1) or 1.0
        return self._usual(member) * speed

    def _usual(self, member: Member) -> float:
        return member.seconds(len(self.store.dataset.labels) * (1 - 1 / self.store.folds.count))


def clock(seconds: float) -> str:
    """Seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
