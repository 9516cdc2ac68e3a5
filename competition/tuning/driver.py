"""Run the trials of a study: the driver asks and tells, and each worker trains one fold of a trial at a time.

Several drivers may share a study. Each sends heartbeats for the trials that it runs. If a driver is stopped or killed,
its trials are requeued; results of finished folds are kept.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from competition.crossval.task import Task
from competition.models.hyperparameters import configure_augmentation, replace_hyperparameters
from competition.models.member import Member
from competition.tuning.storage import HEARTBEAT_SECONDS
from competition.tuning.study import Study
from competition.tuning.trials import BLOCKS, TrialFold, TrialFoldResult, fold_results, mean_loss, run_trial_fold
from competition.workers.base import Workers
from competition.workers.events import Failed, Failure, Finished, OnEvent

POLL_SECONDS = 2.0  # between checks for trials that other drivers still run

HasTime = Callable[[float], bool]  # whether there is time for a trial of this many seconds


def run_trials(
    study: Study, workers: Workers, total: int, on_event: OnEvent, has_time: HasTime = lambda seconds: True
) -> Iterator[FrozenTrial]:
    """Yield this driver's trials as they finish, until all drivers together have reached the total.

    Wait for other drivers' trials as long as there is time to rerun one, in case its driver dies.
    """
    function = partial(run_trial_fold, dataset=study.context.dataset, folds=study.folds)
    with _Driver(study, total, has_time) as driver:
        while True:
            for trial_fold, outcome in workers.run(function, driver.take, on_event):
                failed = isinstance(outcome, Failure)
                on_event(Failed(trial_fold, outcome) if failed else Finished(trial_fold, outcome))
                driver.report(trial_fold, outcome)
                yield from driver.pop_ended()
            yield from driver.pop_ended()
            if study.requeue_stale_trials():
                continue
            driver.monitor_foreign_trials()
            if not driver.others_are_running() or not has_time(study.trial_seconds()):
                return
            time.sleep(POLL_SECONDS)


@dataclass
class _ActiveTrial:
    """A trial that this driver has started and not ended."""

    trial: Trial
    member: Member
    remaining_folds: list[int]
    folds_in_progress: set[int] = field(default_factory=set)


class _Driver:
    """The trials of a study that this process runs."""

    def __init__(self, study: Study, total: int, has_time: HasTime) -> None:
        self.study, self.total, self.has_time = study, total, has_time
        self.active: dict[int, _ActiveTrial] = {}
        self.ended: list[FrozenTrial] = []  # trials that were not yielded yet
        self.monitored: set[int] = set()  # trials of other drivers that got a heartbeat
        self.stopped = threading.Event()
        self.heartbeat = threading.Thread(target=self._send_heartbeats, daemon=True)

    def __enter__(self) -> "_Driver":
        self.monitor_foreign_trials()
        self.heartbeat.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.heartbeat.join()
        for number in self.active:
            self.study.requeue(number)

    def take(self, fits: Callable[[Task], bool]) -> TrialFold | None:
        """The next task for an idle worker.

        It is a fold of an active trial with no fold in progress, else of a new trial, else of any active trial.
        """
        if not self._find_active(lambda active: True) and not self._has_trials():
            return None  # before `fits` is called, which would tell the pool that a task is left
        if not fits(Task(self.study.member, 0)):
            return None
        idle = self._find_active(lambda active: not active.folds_in_progress)
        active = idle or self._start_trial() or self._find_active(lambda active: True)
        if active is None:
            return None
        fold = active.remaining_folds.pop(0)
        active.folds_in_progress.add(fold)
        return TrialFold(Task(active.member, fold), active.trial.number, self.study.train_fraction)

    def pop_ended(self) -> list[FrozenTrial]:
        """The trials that have ended since the last call; a requeued one may end without a further fold."""
        ended, self.ended = self.ended, []
        return ended

    def report(self, trial_fold: TrialFold, outcome: TrialFoldResult | Failure) -> None:
        """Report the outcome of a fold, which may end its trial."""
        active, fold = self.active.get(trial_fold.trial), trial_fold.task.fold
        if active is None:
            return  # pruned or requeued by another driver while this fold was running
        active.folds_in_progress.discard(fold)
        try:
            if isinstance(outcome, Failure):
                active.trial.set_user_attr("failure", outcome.reason)
                self._end(active, TrialState.FAIL)
                return
            active.trial.set_user_attr(f"fold-{fold}", asdict(outcome))
            self._update(active, {fold: outcome})
        except UpdateFinishedTrialError:
            # Our heartbeats stopped for too long, and another driver requeued the trial.
            self.active.pop(trial_fold.trial, None)

    def monitor_foreign_trials(self) -> None:
        """Send a first heartbeat for the trials of other drivers that were not seen before.

        Optuna never regards a trial as stale whose driver died before its first heartbeat.
        """
        new = self._foreign_trials() - self.monitored
        for number in new:
            self.study.record_heartbeat(number)
        self.monitored |= new

    def others_are_running(self) -> bool:
        """Whether other drivers run trials."""
        return bool(self._foreign_trials())

    def _foreign_trials(self) -> set[int]:
        """The numbers of running trials that this driver does not run."""
        running = {trial.number for trial in self.study.trials if trial.state == TrialState.RUNNING}
        return running - self.active.keys()

    def _find_active(self, condition: Callable[[_ActiveTrial], bool]) -> _ActiveTrial | None:
        """The first active trial with remaining folds that meets the condition."""
        return next((active for active in self.active.values() if active.remaining_folds and condition(active)), None)

    def _has_trials(self) -> bool:
        return self.study.remaining_trials(self.total) > 0 and self.has_time(self.study.trial_seconds())

    def _start_trial(self) -> _ActiveTrial | None:
        """Start a trial if the total has not been reached and there is time for it.

        Finished folds of a requeued trial are reused.
        """
        study = self.study
        while self._has_trials():
            try:
                trial = study.ask()
            except UpdateFinishedTrialError:  # so slow that another driver requeued the trial meanwhile
                continue
            if trial is None:
                continue
            finished = fold_results(trial)
            recipe = replace_hyperparameters(study.member.recipe, trial.params)
            member = configure_augmentation(replace(study.member, recipe=recipe), study.context.config)
            remaining = [fold for fold in range(study.folds.count) if fold not in finished]
            active = self.active[trial.number] = _ActiveTrial(trial, member, remaining)
            try:
                self._update(active, finished)
            except UpdateFinishedTrialError:  # requeued meanwhile, too
                self.active.pop(trial.number, None)
                continue
            if active.remaining_folds:
                return active
        return None

    def _update(self, active: _ActiveTrial, results: dict[int, TrialFoldResult]) -> None:
        """Report new results to Optuna; end the trial if it is complete or to be pruned."""
        for fold, result in results.items():
            for block, loss in enumerate(result.losses):
                active.trial.report(loss, fold * BLOCKS + block)
        if not active.remaining_folds and not active.folds_in_progress:
            by_fold = fold_results(self.study.frozen_trial(active.trial.number))
            loss = mean_loss(by_fold.values())
            self._end(active, TrialState.COMPLETE, loss)
            return
        # The current defaults are the baseline, which must never be pruned.
        if results and active.trial.params != self.study.current and active.trial.should_prune():
            self._end(active, TrialState.PRUNED)

    def _end(self, active: _ActiveTrial, state: TrialState, value: float | None = None) -> None:
        number = active.trial.number
        del self.active[number]
        active.remaining_folds.clear()
        self.ended.append(self.study.end(number, state, value))

    def _send_heartbeats(self) -> None:
        while not self.stopped.wait(HEARTBEAT_SECONDS):
            for number in list(self.active):
                with suppress(StorageInternalError):  # the driver's own thread reports a storage that fails
                    self.study.record_heartbeat(number)
        self.study.context.storage.remove_session()  # of this thread
