"""Run the trials of a study: the driver asks and tells, and each worker trains one fold of a trial at a time.

Several drivers may share a study. Each sends heartbeats for the trials that it runs. If a driver is stopped or killed,
its trials are requeued together with the folds that are finished.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from competition.crossval.task import Task
from competition.models.hyperparameters import limit_augmentation, replace_hyperparameters
from competition.models.member import Member
from competition.tuning.storage import HEARTBEAT_SECONDS
from competition.tuning.study import Study
from competition.tuning.trials import BLOCKS, TrialFold, TrialFoldResult, fold_results, run_trial_fold
from competition.workers.base import Workers
from competition.workers.events import Failed, Failure, Finished, OnEvent

POLL_SECONDS = 2.0  # between checks for trials that other drivers still run

HasTime = Callable[[float], bool]  # whether there is time for a trial of so many seconds


def run_trials(
    study: Study, workers: Workers, total: int, on_event: OnEvent, has_time: HasTime = lambda seconds: True
) -> Iterator[FrozenTrial]:
    """Yield this driver's trials as they finish, until all drivers together have reached the total.

    Trials of other drivers are waited for while there is time to run one, because it is repeated if its driver dies.
    """
    function = partial(run_trial_fold, dataset=study.context.dataset, folds=study.folds)
    with _Driver(study, total, has_time) as driver:
        while True:
            for trial_fold, outcome in workers.run(function, driver.take, on_event):
                failed = isinstance(outcome, Failure)
                on_event(Failed(trial_fold, outcome) if failed else Finished(trial_fold, outcome))
                if finished := driver.report(trial_fold, outcome):
                    yield finished
            if study.requeue_stale_trials():
                continue
            if not driver.others_are_running() or not has_time(study.trial_seconds()):
                return
            time.sleep(POLL_SECONDS)


@dataclass
class _RunningTrial:
    """A trial that this driver runs."""

    trial: Trial
    member: Member
    remaining_folds: list[int]
    running_folds: set[int] = field(default_factory=set)


class _Driver:
    """The trials of a study that this process runs."""

    def __init__(self, study: Study, total: int, has_time: HasTime) -> None:
        self.study, self.total, self.has_time = study, total, has_time
        self.running: dict[int, _RunningTrial] = {}
        self.others: set[int] = set()  # trials of other drivers
        self.stopped = threading.Event()
        self.heartbeat = threading.Thread(target=self._send_heartbeats, daemon=True)

    def __enter__(self) -> "_Driver":
        self.others_are_running()
        self.heartbeat.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.heartbeat.join()
        for number in self.running:
            self.study.requeue(number)

    def take(self, fits: Callable[[Task], bool]) -> TrialFold | None:
        """The next task for an idle worker: a fold of an idle trial, of a new trial, or of a trial that is running."""
        if not fits(Task(self.study.member, 0)):
            return None
        idle = self._find_running(lambda running: not running.running_folds)
        running = idle or self._start_trial() or self._find_running(lambda running: True)
        if running is None:
            return None
        fold = running.remaining_folds.pop(0)
        running.running_folds.add(fold)
        return TrialFold(Task(running.member, fold), running.trial.number, self.study.share)

    def report(self, trial_fold: TrialFold, outcome: TrialFoldResult | Failure) -> FrozenTrial | None:
        """Report the outcome of a fold; return its trial if it has ended."""
        running, fold = self.running.get(trial_fold.trial), trial_fold.task.fold
        if running is None:
            return None  # pruned or requeued by another driver while this fold was running
        running.running_folds.discard(fold)
        try:
            if isinstance(outcome, Failure):
                running.trial.set_user_attr("failure", outcome.reason)
                return self._end(running, TrialState.FAIL)
            running.trial.set_user_attr(f"fold-{fold}", asdict(outcome))
            return self._update(running, {fold: outcome})
        except UpdateFinishedTrialError:
            del self.running[trial_fold.trial]  # our heartbeats stopped for too long, and another driver requeued it
            return None

    def others_are_running(self) -> bool:
        """Whether other drivers run trials; trials seen for the first time get a heartbeat.

        Optuna never regards a trial as stale whose driver died before its first heartbeat.
        """
        running = {trial.number for trial in self.study.trials if trial.state == TrialState.RUNNING}
        others = running - self.running.keys()
        for number in others - self.others:
            self.study.record_heartbeat(number)
        self.others |= others
        return bool(others)

    def _find_running(self, condition: Callable[[_RunningTrial], bool]) -> _RunningTrial | None:
        """The first running trial with remaining folds that meets the condition."""
        return next(
            (running for running in self.running.values() if running.remaining_folds and condition(running)), None
        )

    def _start_trial(self) -> _RunningTrial | None:
        """Start a trial if one is missing and there is time for it; finished folds of a requeued trial are reused."""
        study = self.study
        while study.remaining_trials(self.total) > 0 and self.has_time(study.trial_seconds()):
            try:
                trial = study.ask()
            except UpdateFinishedTrialError:  # so slow that another driver requeued the trial meanwhile
                continue
            if trial is None:
                continue
            finished = fold_results(trial)
            recipe = replace_hyperparameters(study.member.recipe, trial.params)
            member = limit_augmentation(replace(study.member, recipe=recipe), study.context.config)
            remaining = [fold for fold in range(study.folds.count) if fold not in finished]
            running = self.running[trial.number] = _RunningTrial(trial, member, remaining)
            self._update(running, finished)
            if running.remaining_folds:
                return running
        return None

    def _update(self, running: _RunningTrial, results: dict[int, TrialFoldResult]) -> FrozenTrial | None:
        """Report new results to Optuna; end the trial if it is complete or to be pruned."""
        for fold, result in results.items():
            for block, loss in enumerate(result.losses):
                running.trial.report(loss, fold * BLOCKS + block)
        if not running.remaining_folds and not running.running_folds:
            by_fold = fold_results(self.study.frozen_trial(running.trial.number))
            loss = float(np.mean([result.losses for result in by_fold.values()]))
            return self._end(running, TrialState.COMPLETE, loss)
        # The current defaults are the baseline, which must be complete however bad it is.
        if results and running.trial.params != self.study.current and running.trial.should_prune():
            return self._end(running, TrialState.PRUNED)
        return None

    def _end(self, running: _RunningTrial, state: TrialState, value: float | None = None) -> FrozenTrial:
        number = running.trial.number
        del self.running[number]
        running.remaining_folds.clear()
        return self.study.end(number, state, value)

    def _send_heartbeats(self) -> None:
        while not self.stopped.wait(HEARTBEAT_SECONDS):
            for number in list(self.running):
                with suppress(StorageInternalError):  # the driver's own thread reports a storage that fails
                    self.study.record_heartbeat(number)
        self.study.context.storage.remove_session()  # of this thread
