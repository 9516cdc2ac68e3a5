"""Run an Optuna study: the driver asks and tells, and each worker trains one fold of a trial at a time.

Several drivers may share a study. Each holds leases on the trials that it runs and renews them; if a driver is stopped
or killed, its trials are requeued together with the folds that are finished.
"""

import hashlib
import inspect
import json
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState

from competition.crossval.folds import Folds
from competition.crossval.provenance import ingredients
from competition.crossval.task import Task
from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.models.hyperparameters import (
    Hyperparameters,
    describe_recipe,
    get_hyperparameters,
    limit_augmentation,
    replace_hyperparameters,
)
from competition.models.member import Member
from competition.tuning.trials import BLOCKS, TrialFold, TrialFoldResult, fold_results, run_trial_fold
from competition.workers.base import Workers
from competition.workers.events import Failed, Failure, Finished, OnEvent

PRUNE_BELOW_P = 0.1  # p-value of Wilcoxon's test at which a trial is pruned
LEASE_SECONDS = 120.0  # that a trial belongs to a driver unless the lease is renewed
UNLEASED_SECONDS = 5.0  # that a running trial may have no lease yet before its driver is assumed dead
MAX_CLOCK_SKEW = 3600.0  # seconds by which the clocks of two machines may differ
PID_NAMESPACE = Path("/proc/self/ns/pid")  # containers may share a host name, but not their process ids
HOST = f"{platform.node()} {PID_NAMESPACE.readlink() if PID_NAMESPACE.exists() else ''}"
POLL_SECONDS = 2.0  # between checks for trials that other drivers still run

optuna.logging.set_verbosity(optuna.logging.ERROR)
Pruner = optuna.pruners.BasePruner
DEFAULT_CONFIG = Config()


def current_hyperparameters(member: Member) -> FixedTrial:
    """The values in the member's recipe of the hyperparameters in its search space, with their distributions."""
    trial = FixedTrial(get_hyperparameters(member.recipe))
    with warnings.catch_warnings(action="ignore"):  # a current value may be outside the search space
        member.spec.search_space(trial)
    return trial


@dataclass
class _RunningTrial:
    """A trial that this driver runs."""

    trial: Trial
    member: Member
    remaining_folds: list[int]
    running_folds: set[int] = field(default_factory=set)


class Study:
    """An Optuna study of a model on one split, trained on a share of its rows; other code or data have other studies.

    The competition's config limits the augmentation of every trial.
    """

    def __init__(
        self,
        competition: str,
        member: Member,
        dataset: Dataset,
        folds: Folds,
        share: float,
        storage: BaseStorage,
        pruner: Pruner | None = None,
        config: Config = DEFAULT_CONFIG,
    ) -> None:
        self.member, self.dataset, self.folds, self.share, self.config = member, dataset, folds, share, config
        current = current_hyperparameters(member)
        self.current = current.params
        inputs = ingredients(replace(member, recipe=None), dataset, folds)
        fixed = {
            name: describe_recipe(value)
            for name, value in get_hyperparameters(member.recipe).items()
            if name not in self.current
        }
        objective = (
            inspect.getsource(run_trial_fold),
            sorted(current.distributions.items()),
            sorted(config.limits.items()),
        )
        digest = hashlib.sha256(f"{sorted(inputs.items())} {fixed} {BLOCKS} {objective}".encode()).hexdigest()
        self.name = f"{competition} {member.kind} {folds.name} share {share:.2f} {digest[:8]}"
        self.storage = storage
        self.optuna_study = optuna.create_study(
            storage=storage, study_name=self.name, load_if_exists=True, pruner=pruner or optuna.pruners.NopPruner()
        )
        # A resumed study or a second driver must not repeat the same random samples.
        entropy = np.random.SeedSequence([folds.seed, len(self.trials), os.getpid(), *platform.node().encode()])
        self.optuna_study.sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, seed=int(entropy.generate_state(1)[0])
        )
        for trial in self.optuna_study.get_trials(deepcopy=False):
            if _is_damaged(trial):
                message = (
                    f"trial {trial.number} of {self.name} is damaged in the storage and ignored; another replaces it"
                )
                print(message, file=sys.stderr, flush=True)
        self._requeue_lost()
        self.enqueue(self.current)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials except requeued and damaged ones."""
        trials = self.optuna_study.get_trials(deepcopy=False)
        return [trial for trial in trials if not _is_requeued(trial) and not _is_damaged(trial)]

    @property
    def complete_trials(self) -> list[FrozenTrial]:
        """The trials with results on all folds, the best first."""
        finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(finished, key=lambda trial: float(trial.value or 0))

    def enqueue(self, params: Hyperparameters) -> None:
        """Try these hyperparameters next, unless a trial that did not fail has them already."""
        if params not in [_requested_params(trial) for trial in self.trials if trial.state != TrialState.FAIL]:
            self.optuna_study.enqueue_trial(params)

    def _requeue_lost(self) -> None:
        """Enqueue what a driver marked as requeued and then died before it enqueued it."""
        trials = self.optuna_study.get_trials(deepcopy=False)
        for trial in trials:
            params = _requested_params(trial)
            later = trials[trial.number + 1 :]
            if params and _is_requeued(trial) and params not in map(_requested_params, later):
                self.optuna_study.enqueue_trial(params, user_attrs=_fold_attrs(trial))

    def complete_trial(self, params: Hyperparameters) -> FrozenTrial | None:
        """The complete trial with these hyperparameters."""
        return next((trial for trial in self.complete_trials if trial.params == params), None)

    def fold_seconds(self) -> float:
        """Duration of a fold: the mean of finished ones, by default the model's estimate."""
        seconds = [result.seconds for trial in self.trials for result in fold_results(trial).values()]
        return float(np.mean(seconds)) if seconds else self.default_fold_seconds()

    def default_fold_seconds(self) -> float:
        """The model's estimate for a fold on the reference machine."""
        return self.member.training_seconds(len(self.dataset.labels) * (1 - 1 / self.folds.count) * self.share)

    def trial_seconds(self) -> float:
        """Duration of a trial with one worker if it is not pruned."""
        return self.folds.count * self.fold_seconds()

    def remaining_trials(self, total: int) -> int:
        """Number of trials to start to reach the total; those that other drivers run count as started."""
        return total - sum(trial.state != TrialState.WAITING for trial in self.trials)

    def run(
        self, workers: Workers, total: int, on_event: OnEvent, has_time: Callable[[float], bool] = lambda seconds: True
    ) -> Iterator[FrozenTrial]:
        """Yield this driver's trials as they finish, until all drivers together have reached the total.

        `has_time` gets the duration of a trial in seconds. Trials of other drivers are waited for while there is time
        to run one, because it has to be repeated if its driver dies.
        """
        work = partial(run_trial_fold, dataset=self.dataset, folds=self.folds)
        with _Driver(self, total, has_time) as driver:
            while True:
                for trial_fold, outcome in workers.run(work, driver.take, on_event):
                    on_event(
                        Failed(trial_fold, outcome) if isinstance(outcome, Failure) else Finished(trial_fold, outcome)
                    )
                    if finished := driver.report(trial_fold, outcome):
                        yield finished
                if driver.requeue_orphans():
                    continue
                if not driver.has_running_trials() or not has_time(self.trial_seconds()):
                    return
                time.sleep(POLL_SECONDS)

    def ask(self, lease: dict[str, Any]) -> Trial:
        """The next trial, with a lease before hyperparameters, since the driver may die while they are sampled."""
        trial = self.optuna_study.ask()
        trial.set_user_attr("lease", lease)
        with warnings.catch_warnings(action="ignore"):  # an enqueued value may be outside the search space
            self.member.spec.search_space(trial)
        return trial

    def tell(self, number: int, value: float | None, state: TrialState) -> FrozenTrial:
        """End a trial; `UpdateFinishedTrialError` if another driver has ended it already."""
        try:
            return self.optuna_study.tell(number, value, state)
        except ValueError as error:
            if self.frozen_trial(number).state.is_finished():
                raise UpdateFinishedTrialError from error
            raise

    def frozen_trial(self, number: int) -> FrozenTrial:
        """The trial with this number as stored."""
        return self.optuna_study.get_trials(deepcopy=False)[number]

    def is_duplicate(self, trial: Trial) -> bool:
        """Whether another driver took the same enqueued hyperparameters at the same time, with a lower number."""
        params = self.frozen_trial(trial.number).system_attrs.get("fixed_params")
        earlier = [other for other in self.trials if other.number < trial.number and other.state != TrialState.FAIL]
        return params is not None and params in [other.system_attrs.get("fixed_params") for other in earlier]

    def requeue(self, trial: FrozenTrial) -> None:
        """End a trial that no driver runs and enqueue its hyperparameters and finished folds; one driver succeeds."""
        study_id = self.storage.get_study_id_from_name(self.name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial_id, "requeued", True)
            self.tell(trial.number, None, TrialState.FAIL)
            if params := _requested_params(trial):
                self.optuna_study.enqueue_trial(params, user_attrs=_fold_attrs(trial))


class _Driver:
    """The trials of a study that this process runs."""

    def __init__(self, study: Study, total: int, has_time: Callable[[float], bool]) -> None:
        self.study, self.total, self.has_time = study, total, has_time
        self.running: dict[int, _RunningTrial] = {}
        self.leases: dict[int, tuple[Any, float]] = {}  # of other drivers, and when each was first seen
        self.stopped = threading.Event()
        self.renewal = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "_Driver":
        self.requeue_orphans()
        self.renewal.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.renewal.join()
        for trial in self.study.trials:
            if trial.number in self.running:
                self.study.requeue(trial)

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
            return None  # pruned or taken by another driver while this fold was running
        running.running_folds.discard(fold)
        try:
            if isinstance(outcome, Failure):
                running.trial.set_user_attr("failure", outcome.reason)
                return self._end(running, None, TrialState.FAIL)
            running.trial.set_user_attr(f"fold-{fold}", asdict(outcome))
            return self._update(running, {fold: outcome})
        except UpdateFinishedTrialError:
            self.running.pop(trial_fold.trial, None)  # our lease expired and another driver took the trial
            return None

    def has_running_trials(self) -> bool:
        """Whether any driver still runs a trial."""
        return any(trial.state == TrialState.RUNNING for trial in self.study.trials)

    def _find_running(self, condition: Callable[[_RunningTrial], bool]) -> _RunningTrial | None:
        """The first running trial with remaining folds that meets the condition."""
        return next(
            (running for running in self.running.values() if running.remaining_folds and condition(running)), None
        )

    def _start_trial(self) -> _RunningTrial | None:
        """Start a trial if one is missing and there is time for it; finished folds of a requeued trial are reused."""
        study = self.study
        if study.remaining_trials(self.total) <= 0 or not self.has_time(study.trial_seconds()):
            return None
        try:
            trial = study.ask(_new_lease())
        except UpdateFinishedTrialError:  # the lease came so late that another driver requeued the trial
            return self._start_trial()
        if study.is_duplicate(trial):
            trial.set_user_attr("requeued", True)
            study.tell(trial.number, None, TrialState.FAIL)
            return self._start_trial()
        finished = fold_results(trial)
        member = replace(study.member, recipe=replace_hyperparameters(study.member.recipe, trial.params))
        member = limit_augmentation(member, study.config)
        remaining = [fold for fold in range(study.folds.count) if fold not in finished]
        running = self.running[trial.number] = _RunningTrial(trial, member, remaining)
        self._update(running, finished)
        return running if running.remaining_folds else self._start_trial()

    def _update(self, running: _RunningTrial, results: dict[int, TrialFoldResult]) -> FrozenTrial | None:
        """Report new results to Optuna; end the trial if it is complete or to be pruned."""
        for fold, result in results.items():
            for block, loss in enumerate(result.losses):
                running.trial.report(loss, fold * BLOCKS + block)
        if not running.remaining_folds and not running.running_folds:
            by_fold = fold_results(self.study.frozen_trial(running.trial.number))
            loss = float(np.mean([result.losses for result in by_fold.values()]))
            return self._end(running, loss, TrialState.COMPLETE)
        # The current defaults are the baseline, which must be complete however bad it is.
        if results and running.trial.params != self.study.current and running.trial.should_prune():
            return self._end(running, None, TrialState.PRUNED)
        return None

    def _end(self, running: _RunningTrial, value: float | None, state: TrialState) -> FrozenTrial:
        number = running.trial.number
        del self.running[number]
        running.remaining_folds.clear()
        running.trial.set_user_attr("checksum", _checksum(self.study.frozen_trial(number)))
        self.study.tell(number, value, state)
        return self.study.frozen_trial(number)

    def requeue_orphans(self) -> bool:
        """Requeue the trials of drivers that are gone; return whether there were any."""
        running = [trial for trial in self.study.trials if trial.state == TrialState.RUNNING]
        orphans = [trial for trial in running if trial.number not in self.running and not self._is_leased(trial)]
        for trial in orphans:
            self.study.requeue(trial)
        return bool(orphans)

    def _is_leased(self, trial: FrozenTrial) -> bool:
        """Whether the driver of another process's trial may still be alive."""
        lease, now = trial.user_attrs.get("lease"), time.monotonic()
        if lease and lease["host"] == HOST and not psutil.pid_exists(lease["pid"]):
            return False
        if lease and abs(lease["until"] - time.time()) > MAX_CLOCK_SKEW:
            return False  # it expired long ago, or the clock that set it has been set back since
        # Clocks of machines differ, so a lease expires if our clock sees no renewal for its duration.
        known, since = self.leases.get(trial.number, (lease, now))
        since = since if known == lease else now
        self.leases[trial.number] = lease, since
        return now - since < (LEASE_SECONDS if lease else UNLEASED_SECONDS)

    def _renew(self) -> None:
        while not self.stopped.wait(LEASE_SECONDS / 4):
            for running in list(self.running.values()):
                # The driver's own thread reports a storage that fails.
                with suppress(UpdateFinishedTrialError, StorageInternalError):
                    running.trial.set_user_attr("lease", _new_lease())


def _checksum(trial: FrozenTrial) -> str:
    """SHA-256 of a trial's hyperparameters and results, since databases do not detect changed bytes."""
    return hashlib.sha256(json.dumps([trial.params, _fold_attrs(trial)], sort_keys=True).encode()).hexdigest()


def _is_damaged(trial: FrozenTrial) -> bool:
    """Whether a finished trial differs from what was stored when it ended."""
    if not trial.state.is_finished() or "checksum" not in trial.user_attrs:
        return False
    if trial.user_attrs["checksum"] != _checksum(trial):
        return True
    results = fold_results(trial).values()
    return trial.state == TrialState.COMPLETE and trial.value != float(np.mean([result.losses for result in results]))


def _is_requeued(trial: FrozenTrial) -> bool:
    """Whether the trial ended because another replaces it."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("requeued"))


def _requested_params(trial: FrozenTrial) -> Hyperparameters:
    """The enqueued hyperparameters, which are complete even if the driver died before it suggested them all."""
    return trial.system_attrs.get("fixed_params", trial.params)


def _fold_attrs(trial: FrozenTrial) -> dict[str, Any]:
    """The user attributes that hold results of folds."""
    return {name: value for name, value in trial.user_attrs.items() if name.startswith("fold-")}


def _new_lease() -> dict[str, Any]:
    return {"host": HOST, "pid": os.getpid(), "until": time.time() + LEASE_SECONDS}
