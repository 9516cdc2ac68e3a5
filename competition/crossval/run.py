"""Cross-validation: which tasks are pending, in which order they run, and what happens to their results."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from competition.crossval.checkpoint import (
    CHECKPOINT_SECONDS,
    CheckpointFailed,
    CheckpointProblem,
    EarlierEpochs,
    FoldCheckpoint,
    Resumed,
    checkpoint_path,
    remove_abandoned,
)
from competition.crossval.curves import CurveRecorder, EpochDone
from competition.crossval.folds import Folds
from competition.crossval.predictions import CurvePoint, Predictions
from competition.crossval.provenance import provenance_of
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task, train_fold
from competition.data.dataset import Dataset
from competition.errors import UserError
from competition.models.gpus import trains_on_gpu
from competition.models.member import Member
from competition.workers.base import Emit, LocalFolder, Workers
from competition.workers.events import Emitted, Event, Failed, Failure, Finished, OnEvent, Skipped

# (completed predictions, pending members) -> priority of each pending member
Priorities = Callable[[Sequence[Predictions], Sequence[Member]], Mapping[Member, float]]


@dataclass(frozen=True)
class Schedule:
    """Which tasks to start and in which order; by default all of them, cheap members first."""

    should_start: Callable[[Task], bool] = lambda task: True
    priorities: Priorities = lambda completed, pending: {}  # called whenever a member completes; higher goes first


IN_ORDER = Schedule()


def cheapest_first(store: Store, members: Sequence[Member]) -> list[Member]:
    """Sort members by the estimated training time on these rows, so that something is complete early."""
    return sorted(members, key=store.reference_seconds)


def pending_tasks(store: Store, members: Sequence[Member]) -> dict[Task, str]:
    """Return the tasks that have to be trained, in order, each with the reason."""
    tasks = (task for member in cheapest_first(store, members) for task in store.tasks(member))
    reasons = ((task, store.reason_to_train(task.member, task.fold)) for task in tasks)
    pending = {task: reason for task, reason in reasons if reason}
    if missing := next((task.member.name for task in pending if task.member.is_imported), None):
        example = store.command("import", name=missing.removeprefix("@"), oof="FILE", test="FILE")
        raise UserError(f"no predictions of {missing} match this data and split; import them: {example}")
    return pending


class _Queue:
    """Waiting tasks; members that are already started come first, then those of the highest priority."""

    def __init__(self, tasks: Sequence[Task], should_start: Callable[[Task], bool], on_event: OnEvent) -> None:
        self._tasks = list(tasks)
        self._should_start, self._on_event = should_start, on_event
        self._started: set[Member] = set()
        self.priorities: Mapping[Member, float] = {}

    def take(self, fits: Callable[[Task], bool]) -> Task | None:
        """Remove and return the next task that fits the worker.

        Tasks rejected by `should_start` are discarded and reported as Skipped.
        """
        for task in sorted(filter(fits, self._tasks), key=self._rank):
            self._tasks.remove(task)
            if self._should_start(task):
                self._started.add(task.member)
                return task
            self._on_event(Skipped(task))
        return None

    def _rank(self, task: Task) -> float:
        return -math.inf if task.member in self._started else -self.priorities.get(task.member, 0.0)


class FailedFoldsError(UserError):
    """Some folds failed; each failure was reported when it happened."""


def cross_validate(
    store: Store,
    members: Sequence[Member],
    workers: Workers,
    on_event: OnEvent,
    schedule: Schedule = IN_ORDER,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[list[Predictions]]:
    """Train the pending folds; each time a member completes, yield all completed members in order.

    Networks that take longer than `checkpoint_seconds` continue from their checkpoint when they are trained again;
    with 0 seconds each epoch has one. A failed task does not stop the others; a FailedFoldsError is raised at the end.
    """
    tasks = list(pending_tasks(store, members))
    queue = _Queue(tasks, schedule.should_start, on_event)
    _remove_leftovers(store, members, tasks)
    pending = {
        member: {task.fold for task in tasks if task.member == member} for member in cheapest_first(store, members)
    }
    completed = {member: store.predictions(member) for member, folds in pending.items() if not folds}
    failed: list[str] = []

    def set_priorities() -> None:
        waiting = [member for member in pending if pending[member]]
        queue.priorities = schedule.priorities(list(completed.values()), waiting)

    if completed:
        yield list(completed.values())
        set_priorities()
    checkpoints = LocalFolder(store.split_folder.absolute(), store.folds.digest)
    function = partial(
        _train_and_record,
        dataset=store.dataset,
        folds=store.folds,
        checkpoints=checkpoints,
        interval=checkpoint_seconds,
    )
    outcomes = workers.run(function, queue.take, lambda event: on_event(_interpret(event))) if tasks else ()
    for task, outcome in outcomes:
        if failure := _failure(store, task, outcome):
            failed.append(task.name)
            on_event(Failed(task, failure))
            continue
        result, curve = outcome
        store.save(task.member, task.fold, result, curve)
        checkpoint_path(store.split_folder, task.member.name, task.fold).unlink(missing_ok=True)
        on_event(Finished(task, result))
        pending[task.member].discard(task.fold)
        if not pending[task.member]:
            completed[task.member] = store.predictions(task.member)
            yield [completed[member] for member in pending if member in completed]
            set_priorities()
    if failed:
        names = ", ".join(sorted(failed))
        raise FailedFoldsError(
            f"{names} failed, as reported above; other results are saved: run again to retry only these"
        )


def _remove_leftovers(store: Store, members: Sequence[Member], pending: Sequence[Task]) -> None:
    """Delete checkpoints of finished folds, in case an earlier run was killed before it did, and of abandoned ones."""
    remove_abandoned(store.split_folder)
    for task in (task for member in members for task in store.tasks(member)):
        if task not in pending:
            checkpoint_path(store.split_folder, task.member.name, task.fold).unlink(missing_ok=True)


def _interpret(event: Event) -> Event:
    """Turn what a task emitted into an event of its own; other events pass through."""
    match event:
        case Emitted(task, EarlierEpochs(points)):
            return Resumed(task, points)
        case Emitted(task, CheckpointProblem(reason)):
            return CheckpointFailed(task, reason)
        case Emitted(task, point):
            return EpochDone(task, point)
    return event


def _failure(store: Store, task: Task, outcome: tuple[FoldResult, list[CurvePoint]] | Failure) -> Failure | None:
    """Return why the outcome cannot be saved; code may have been edited after the driver started."""
    if isinstance(outcome, Failure):
        return outcome
    if not (differing := store.differing_provenance(task.member, outcome[0].provenance)):
        return None
    verb = "differs" if len(differing) == 1 else "differ"
    names = " and ".join(differing)
    return Failure(f"the worker's {names} {verb} from the driver's (edited during the run?); run again", "")


def _train_and_record(
    task: Task, emit: Emit, dataset: Dataset, folds: Folds, checkpoints: LocalFolder, interval: float
) -> tuple[FoldResult, list[CurvePoint]]:
    """Train in a worker and emit a CurvePoint after each epoch, first those of an earlier run.

    The driver deletes the checkpoint once it has saved the result; one on another machine is deleted here.
    """
    if not checkpoints.is_drivers:
        remove_abandoned(checkpoints.path)
    recorder = CurveRecorder(dataset, folds.held_out == task.fold)
    path = checkpoint_path(checkpoints.path, task.member.name, task.fold)
    device = "GPU" if task.member.spec.is_network and trains_on_gpu() else "CPU"  # their optimizers' states differ
    provenance = provenance_of(task.member, dataset, folds) | {"fold": str(task.fold), "device": device}
    checkpoint = FoldCheckpoint(path, provenance, recorder.points, emit, interval)
    result = train_fold(task, dataset, folds, lambda epoch: emit(recorder.record(epoch)), checkpoint)
    if not checkpoints.is_drivers:
        checkpoint.remove()
    return replace(result, seconds=result.seconds + checkpoint.earlier_seconds), recorder.points
