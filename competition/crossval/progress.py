"""Progress of cross-validation, computed from events: scores so far and the time left."""

import heapq
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from competition.crossval.checkpoint import CheckpointFailed, Resumed, describe_epoch
from competition.crossval.curves import EpochDone
from competition.crossval.predictions import CurvePoint, Predictions
from competition.crossval.run import cheapest_first
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task
from competition.errors import UserError
from competition.models.member import Member
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score, repeated_groups
from competition.workers.base import Workers
from competition.workers.events import Event, Failed, Finished, Retried, Skipped, Started


@dataclass
class RunningTask:
    """A task that a worker is running."""

    start: float = field(default_factory=time.monotonic)
    point: CurvePoint | None = None  # after the latest epoch
    point_time: float = 0.0
    earlier_epochs: int = 0  # that an earlier run finished

    def resume(self, point: CurvePoint) -> None:
        """Continue after this epoch of an earlier run."""
        self.start, self.earlier_epochs = time.monotonic(), point.epoch
        self.update(point)

    def update(self, point: CurvePoint) -> None:
        """Record an epoch."""
        self.point, self.point_time = point, time.monotonic()

    def time_left(self, expected: float) -> float:
        """Return the seconds left, extrapolated from the epochs if there are any, else from `expected` seconds."""
        elapsed = time.monotonic() - self.start
        if not self.point:
            return max(0.0, expected - elapsed)
        all_epochs, epochs_done = (count - self.earlier_epochs for count in (self.point.epochs, self.point.epoch))
        if not epochs_done:
            return max(0.0, expected * all_epochs / self.point.epochs - elapsed)
        return max(0.0, (self.point_time - self.start) * all_epochs / epochs_done - elapsed)


class Progress:
    """Which folds are finished, which are running, and how long the others will take."""

    def __init__(
        self,
        store: Store,
        members: Sequence[Member],
        workers: Workers,
        metric: Metric,
        slowdowns: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.store = store
        self.slowdowns = dict(slowdowns)  # by member, relative to the reference machine
        self.metric = metric
        self.groups = repeated_groups(store.dataset.groups)
        self.members = cheapest_first(store, members)
        self.workers = workers
        self.running: dict[Task, RunningTask] = {}
        self.seconds: dict[str, dict[int, float]] = {member.name: {} for member in members}  # of finished folds
        self.oof: dict[str, np.ndarray] = {}  # NaN where a fold is unfinished
        self.scores: dict[str, Score] = {}  # on the finished folds
        for member in members:
            predictions = store.predictions(member)
            self.oof[member.name] = predictions.oof
            self._score(member.name)
            for fold in self._finished_folds(predictions):
                self.seconds[member.name][fold] = store.seconds(member, fold)
        self.skipped: list[Member] = []  # for lack of time
        self.failed: list[Task] = []  # which this run does not try again
        # (seconds, seconds on the reference machine) of each member's folds of this run, by whether a network was
        # trained: images without a blank border, bfloat16 and GPUs affect only networks.
        self.measured: dict[bool, dict[str, tuple[float, float]]] = {True: {}, False: {}}

    def _finished_folds(self, predictions: Predictions) -> list[int]:
        """The folds, or training runs on all rows, that have predictions."""
        if self.store.folds.uses_all_rows:
            return np.flatnonzero(np.isfinite(predictions.test).all(axis=(1, 2))).tolist()
        return np.unique(self.store.folds.held_out[np.isfinite(predictions.oof[:, 0])]).tolist()

    def update(self, event: Event) -> str | None:
        """Update from an event; return a line for the log if there is something to report."""
        match event:
            case Started(task):
                self.running[task] = RunningTask()
            case EpochDone(task, point) if task in self.running:
                self.running[task].update(point)
            case Resumed(task, points) if task in self.running:
                self.running[task].resume(points[-1])
                return f"{task.name} continues after {describe_epoch(points[-1])}"
            case CheckpointFailed(task, reason):
                return f"{task.name}: {reason}"
            case Skipped(task) if task.member not in self.skipped:
                self.skipped.append(task.member)
                needed = format_duration(self.member_time_left(task.member))
                return f"{task.member.name} skipped: needs about {needed}, more than the remaining budget"
            case Retried(task, failure):
                self.running.pop(task, None)
                return f"retrying {task.name}: {failure.reason}"
            case Failed(task, failure):
                self.running.pop(task, None)
                self.failed.append(task)
                return f"{task.name} failed: {failure.reason}\n{failure.details}".rstrip()
            case Finished(task, result):
                self.running.pop(task, None)
                return self._finish(task, result)
        return None

    def _finish(self, task: Task, result: FoldResult) -> str:
        name, held_out = task.member.name, self.store.folds.held_out == task.fold
        self.seconds[name][task.fold] = result.seconds
        if not task.member.uses_columns:  # their time depends on the number of columns
            measured = self.measured[task.member.spec.is_network]
            seconds, reference = measured.get(name, (0.0, 0.0))
            measured[name] = seconds + result.seconds, reference + self.store.reference_seconds(task.member)
        self.oof[name][held_out] = result.held_out
        self._score(name)
        took, left = format_duration(result.seconds), format_duration(self.time_left())
        remark = f", {result.remark}" if result.remark else ""
        score = f"; {name} scores {self.format_score(name)} so far" if held_out.any() else ""
        return f"{task.name} took {took}{remark}{score}; time left {left}"

    def format_score(self, name: str) -> str:
        """Format the member's score on its finished folds; empty before the first."""
        return self.metric.format(self.scores[name]) if name in self.scores else ""

    def _score(self, name: str) -> None:
        """Score the finished folds; some metrics are undefined on so few rows."""
        predicted = np.isfinite(self.oof[name][:, 0])
        if predicted.any():
            with suppress(UserError):
                groups = None if self.groups is None else self.groups[predicted]
                labels = self.store.dataset.labels[predicted]
                self.scores[name] = self.metric.score(labels, self.oof[name][predicted], groups)

    def time_left(self) -> float:
        """Return the seconds left with all workers; a fold runs on one worker, however many are idle."""
        members = [member for member in self.members if member not in self.skipped]
        shared = sum(self.work_left(member) / self._capacity(member) for member in members)
        last_folds = [
            run.time_left(self.expected_seconds(member)) for member in self.skipped for run in self._running(member)
        ]
        return max([shared, *map(self.member_time_left, members), *last_folds])

    def member_time_left(self, member: Member) -> float:
        """Return the seconds until the member is complete if all workers train it."""
        expected, workers = self.expected_seconds(member), self._capacity(member)
        running = sorted(run.time_left(expected) for run in self._running(member))
        ends = [0.0] * max(workers - len(running), 0) + running
        for _ in range(self._count_waiting(member)):
            heapq.heapreplace(ends, ends[0] + expected)
        return max(ends)

    def fits(self, member: Member, seconds: float) -> bool:
        """Whether the member can be completed in this time if all workers train it."""
        return self.member_time_left(member) <= seconds

    def work_left(self, member: Member) -> float:
        """Return the seconds that one worker needs to complete the member."""
        expected = self.expected_seconds(member)
        running = sum(run.time_left(expected) for run in self._running(member))
        return running + self._count_waiting(member) * expected

    def _running(self, member: Member) -> list[RunningTask]:
        return [run for task, run in list(self.running.items()) if task.member == member]

    def _count_waiting(self, member: Member) -> int:
        """Count the member's folds that are neither finished nor running and have not failed."""
        started = len(self.seconds[member.name]) + len(self._running(member))
        return len(self.store.tasks(member)) - started - sum(task.member == member for task in self.failed)

    def _capacity(self, member: Member) -> int:
        return self.workers.capacity(Task(member, 0))

    def expected_seconds(self, member: Member) -> float:
        """Estimate the seconds for one fold, from the member's finished folds or else from this machine's speed."""
        if done := self.seconds[member.name]:
            return float(np.mean(list(done.values())))
        return self.store.reference_seconds(member) * self._slowdown(member)

    def _slowdown(self, member: Member) -> float:
        """How much slower this machine is than the reference machine, by the members of the same kind if there are any.

        For networks, this run's measurements come first, then `slowdowns`, then the finished folds of earlier runs;
        for other models, `slowdowns` comes first.
        """
        is_network = member.spec.is_network
        if not is_network and member.name in self.slowdowns:
            return self.slowdowns[member.name]
        if not (measured := list(self.measured[is_network].values())):
            if is_network and self.slowdowns:
                return self.slowdowns.get(member.name, float(np.mean(list(self.slowdowns.values()))))
            of_kind = [other for other in self.members if other.spec.is_network == is_network]
            measured = [
                (seconds, self.store.reference_seconds(other))
                for other in of_kind
                if not (other.uses_columns or other.is_imported)
                for seconds in self.seconds[other.name].values()
            ]
        if not measured:  # the smallest, since a model may take several times as long on difficult images
            others = self.measured[not is_network].values()
            return min((seconds / reference for seconds, reference in others), default=1.0)
        return sum(seconds for seconds, _ in measured) / sum(reference for _, reference in measured)


def format_duration(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
