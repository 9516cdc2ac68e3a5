"""A search for better settings: Optuna asks and tells in the driver, workers train one fold of one trial at a time.

Several drivers may share a study. Each holds a lease on the trials that it runs and renews it; what a driver left
behind, stopped or killed, is asked again with the folds that it had finished.
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
from competition.data.config import Rules
from competition.data.dataset import Dataset
from competition.models.hyperparameters import Settings, readable, ruled, settings, with_settings
from competition.models.member import Member
from competition.tuning.trials import BLOCKS, Evidence, Examination, evidence_of, examine
from competition.workers.base import Failure, Say, Workers

HOPELESS = 0.1  # p-value of Wilcoxon's test at which a trial is given up
LEASE = 120.0  # seconds for which a trial is a driver's own unless it renews
SIGNING = 5.0  # seconds that an asked trial may be seen without a lease before its driver is taken for dead
SKEW = 3600.0  # seconds by which the clocks of two machines may differ
PROCESSES = Path("/proc/self/ns/pid")  # of containers, several may have one name, and each counts its processes anew
HOST = f"{platform.node()} {PROCESSES.readlink() if PROCESSES.exists() else ''}"
LOOK_AROUND = 2.0  # seconds between looks at what other drivers still run

optuna.logging.set_verbosity(optuna.logging.ERROR)
Pruner = optuna.pruners.BasePruner
NO_RULES = Rules()


def present(member: Member) -> FixedTrial:
    """What the member's recipe has where its search asks, and from which range it asks."""
    now = FixedTrial(settings(member.recipe))
    with warnings.catch_warnings(action="ignore"):  # that a setting is out of the space's range
        member.spec.search(now)
    return now


@dataclass
class _Open:
    """A trial that this driver runs."""

    trial: Trial
    member: Member
    left: list[int]
    running: set[int] = field(default_factory=set)


class Study:
    """A model's settings on one split, taught by a share of its rows; trials of other code or data lie elsewhere.

    Whatever a trial asks for, images are changed no further than the competition's rules allow.
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
        rules: Rules = NO_RULES,
    ) -> None:
        self.member, self.dataset, self.folds, self.share, self.rules = member, dataset, folds, share, rules
        now = present(member)
        self.present = now.params
        made_of = ingredients(replace(member, recipe=None), dataset, folds)
        untouched = {
            name: readable(value) for name, value in settings(member.recipe).items() if name not in self.present
        }
        judged_by = inspect.getsource(examine), sorted(now.distributions.items()), sorted(rules.limits.items())
        digest = hashlib.sha256(f"{sorted(made_of.items())} {untouched} {BLOCKS} {judged_by}".encode()).hexdigest()
        self.name = f"{competition} {member.kind} {folds.name} share {share:.2f} {digest[:8]}"
        self.storage = storage
        self.optuna = optuna.create_study(
            storage=storage, study_name=self.name, load_if_exists=True, pruner=pruner or optuna.pruners.NopPruner()
        )
        # A search that goes on, or another driver's, must not begin with the same guesses again.
        entropy = np.random.SeedSequence([folds.seed, len(self.trials), os.getpid(), *platform.node().encode()])
        self.optuna.sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, seed=int(entropy.generate_state(1)[0])
        )
        for trial in self.optuna.get_trials(deepcopy=False):
            if _is_damaged(trial):
                told = f"trial {trial.number} of {self.name} is damaged in the storage; another takes its place"
                print(told, file=sys.stderr, flush=True)
        self._enqueue_lost()
        self.enqueue(self.present)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All but those that were given back or that the storage did not keep as they were."""
        trials = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in trials if not _is_given_back(trial) and not _is_damaged(trial)]

    @property
    def complete(self) -> list[FrozenTrial]:
        """The trials that went through all folds, the best first."""
        finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(finished, key=lambda trial: float(trial.value or 0))

    def enqueue(self, chosen: Settings) -> None:
        """Try these settings next, unless they were tried or wait already; where they failed, once more."""
        if chosen not in [_chosen(trial) for trial in self.trials if trial.state != TrialState.FAIL]:
            self.optuna.enqueue_trial(chosen)

    def _enqueue_lost(self) -> None:
        """Ask again what was given back by a driver that died before it could ask."""
        trials = self.optuna.get_trials(deepcopy=False)
        for trial in trials:
            asked = _chosen(trial)
            if asked and _is_given_back(trial) and asked not in map(_chosen, trials[trial.number + 1 :]):
                self.optuna.enqueue_trial(asked, user_attrs=_folds_of(trial))

    def of(self, chosen: Settings) -> FrozenTrial | None:
        """The complete trial of these settings."""
        return next((trial for trial in self.complete if trial.params == chosen), None)

    def seconds(self) -> float:
        """What a fold takes, by those that are done or else by the model's usual time."""
        done = [one.seconds for trial in self.trials for one in evidence_of(trial).values()]
        return float(np.mean(done)) if done else self.usual_seconds()

    def usual_seconds(self) -> float:
        """What a fold takes on the usual machine."""
        return self.member.seconds(len(self.dataset.labels) * (1 - 1 / self.folds.count) * self.share)

    def trial_seconds(self) -> float:
        """What a trial takes one worker, if it is not given up."""
        return self.folds.count * self.seconds()

    def to_do(self, total: int) -> int:
        """How many trials are missing to so many; those that others run are not."""
        return total - sum(trial.state != TrialState.WAITING for trial in self.trials)

    def run(
        self, workers: Workers, total: int, hear: Say, admits: Callable[[float], bool] = lambda seconds: True
    ) -> Iterator[FrozenTrial]:
        """Yield trials as they finish until there are so many, others' counted; `admits` is told what a trial takes.

        What other drivers run is waited for, since they may die of it, as long as there is time for a trial.
        """
        work = partial(examine, dataset=self.dataset, folds=self.folds)
        with _Driver(self, total, admits) as driver:
            while True:
                for examination, outcome in workers.run(work, driver.take, hear):
                    hear(examination, "ended")
                    if finished := driver.learn(examination, outcome):
                        yield finished
                if driver.take_over():
                    continue
                if not driver.others_run() or not admits(self.trial_seconds()):
                    return
                time.sleep(LOOK_AROUND)

    def ask(self, lease: dict[str, Any]) -> Trial:
        """The next trial, its settings chosen; signed first, as choosing takes time in which a driver may die."""
        trial = self.optuna.ask()
        trial.set_user_attr("lease", lease)
        with warnings.catch_warnings(action="ignore"):  # that a setting is out of the space's range
            self.member.spec.search(trial)
        return trial

    def tell(self, number: int, value: float | None, state: TrialState) -> FrozenTrial:
        """End a trial; UpdateFinishedTrialError where another driver ended it before."""
        try:
            return self.optuna.tell(number, value, state)
        except ValueError as error:
            if self.frozen(number).state.is_finished():
                raise UpdateFinishedTrialError from error
            raise

    def frozen(self, number: int) -> FrozenTrial:
        """The trial of this number as the storage has it."""
        return self.optuna.get_trials(deepcopy=False)[number]

    def is_repeated(self, trial: Trial) -> bool:
        """Whether another driver took the same settings from the queue in the same moment, and before."""
        asked = self.frozen(trial.number).system_attrs.get("fixed_params")
        before = [one for one in self.trials if one.number < trial.number and one.state != TrialState.FAIL]
        return asked is not None and asked in [one.system_attrs.get("fixed_params") for one in before]

    def give_back(self, trial: FrozenTrial) -> None:
        """End a trial that nobody runs and ask it again, with what is known of it; only one driver succeeds in it."""
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial._trial_id, "given back", True)
            self.tell(trial.number, None, TrialState.FAIL)
            if asked := _chosen(trial):
                self.optuna.enqueue_trial(asked, user_attrs=_folds_of(trial))


class _Driver:
    """One process's part in a study."""

    def __init__(self, study: Study, total: int, admits: Callable[[float], bool]) -> None:
        self.study, self.total, self.admits = study, total, admits
        self.open: dict[int, _Open] = {}
        self.seen: dict[int, tuple[Any, float]] = {}  # other drivers' leases, and since when they are the same
        self.ended = threading.Event()
        self.renewal = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "_Driver":
        self.take_over()
        self.renewal.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.renewal.join()
        for trial in self.study.trials:
            if trial.number in self.open:
                self.study.give_back(trial)

    def take(self, fits: Callable[[Task], bool]) -> Examination | None:
        """What an idle worker may do: go on with a trial, begin one, or run ahead of what a trial's last fold says."""
        if not fits(Task(self.study.member, 0)):
            return None
        one = self._first(lambda one: not one.running) or self._asked() or self._first(lambda one: True)
        if one is None:
            return None
        fold = one.left.pop(0)
        one.running.add(fold)
        return Examination(Task(one.member, fold), one.trial.number, self.study.share)

    def learn(self, examination: Examination, outcome: Evidence | Failure) -> FrozenTrial | None:
        """Report a fold; the trial, if it ended with it."""
        one, fold = self.open.get(examination.trial), examination.task.fold
        if one is None:
            return None  # given up, or another's, while this fold was running
        one.running.discard(fold)
        try:
            if isinstance(outcome, Failure):
                one.trial.set_user_attr("failure", outcome.reason)
                return self._end(one, None, TrialState.FAIL)
            one.trial.set_user_attr(f"fold-{fold}", asdict(outcome))
            return self._judge(one, {fold: outcome})
        except UpdateFinishedTrialError:
            self.open.pop(examination.trial, None)  # our lease ran out and another driver took it
            return None

    def others_run(self) -> bool:
        """Whether another driver still runs a trial."""
        return any(trial.state == TrialState.RUNNING for trial in self.study.trials)

    def _first(self, suits: Callable[[_Open], bool]) -> _Open | None:
        return next((one for one in self.open.values() if one.left and suits(one)), None)

    def _asked(self) -> _Open | None:
        """A new trial, if one is missing and there is time for it; what is known of it from before counts."""
        study = self.study
        if study.to_do(self.total) <= 0 or not self.admits(study.trial_seconds()):
            return None
        try:
            trial = study.ask(_lease())
        except UpdateFinishedTrialError:  # we signed so late that another driver gave it back
            return self._asked()
        if study.is_repeated(trial):
            trial.set_user_attr("given back", True)
            study.tell(trial.number, None, TrialState.FAIL)
            return self._asked()
        known = evidence_of(trial)
        member = replace(study.member, recipe=with_settings(study.member.recipe, trial.params))
        member = ruled(member, study.rules)
        left = [fold for fold in range(study.folds.count) if fold not in known]
        one = self.open[trial.number] = _Open(trial, member, left)
        self._judge(one, known)
        return one if one.left else self._asked()

    def _judge(self, one: _Open, news: dict[int, Evidence]) -> FrozenTrial | None:
        """Tell Optuna what is new of the trial, and end it where it is complete or hopeless."""
        for fold, evidence in news.items():
            for block, loss in enumerate(evidence.losses):
                one.trial.report(loss, fold * BLOCKS + block)
        if not one.left and not one.running:
            by_fold = evidence_of(self.study.frozen(one.trial.number))
            return self._end(one, float(np.mean([each.losses for each in by_fold.values()])), TrialState.COMPLETE)
        # The present settings are what all others are measured by, however bad they are.
        if news and one.trial.params != self.study.present and one.trial.should_prune():
            return self._end(one, None, TrialState.PRUNED)
        return None

    def _end(self, one: _Open, value: float | None, state: TrialState) -> FrozenTrial:
        del self.open[one.trial.number]
        one.left.clear()
        one.trial.set_user_attr("seal", _seal(self.study.frozen(one.trial.number)))
        self.study.tell(one.trial.number, value, state)
        return self.study.frozen(one.trial.number)

    def take_over(self) -> bool:
        """Give back what drivers left behind that are gone; whether there was any."""
        running = [trial for trial in self.study.trials if trial.state == TrialState.RUNNING]
        orphans = [trial for trial in running if trial.number not in self.open and not self._is_held(trial)]
        for trial in orphans:
            self.study.give_back(trial)
        return bool(orphans)

    def _is_held(self, trial: FrozenTrial) -> bool:
        """Whether the driver of another's running trial may still be there."""
        lease, now = trial.user_attrs.get("lease"), time.monotonic()
        if lease and lease["host"] == HOST and not psutil.pid_exists(lease["pid"]):
            return False
        if lease and abs(lease["until"] - time.time()) > SKEW:
            return False  # it ran out long ago, or the clock that gave it has been set back since
        # Whose clock is right nobody knows: by ours, one that is not renewed for as long as it was given has run out.
        known, since = self.seen.get(trial.number, (lease, now))
        since = since if known == lease else now
        self.seen[trial.number] = lease, since
        return now - since < (LEASE if lease else SIGNING)

    def _renew(self) -> None:
        while not self.ended.wait(LEASE / 4):
            for one in list(self.open.values()):
                with suppress(UpdateFinishedTrialError, StorageInternalError):  # the driver meets a storage that fails
                    one.trial.set_user_attr("lease", _lease())


def _seal(trial: FrozenTrial) -> str:
    """A checksum of what a trial tried and found, since databases keep none."""
    return hashlib.sha256(json.dumps([trial.params, _folds_of(trial)], sort_keys=True).encode()).hexdigest()


def _is_damaged(trial: FrozenTrial) -> bool:
    """Whether it does not say any more what it said when it ended."""
    if not trial.state.is_finished() or "seal" not in trial.user_attrs:
        return False
    if trial.user_attrs["seal"] != _seal(trial):
        return True
    by_fold = evidence_of(trial).values()
    return trial.state == TrialState.COMPLETE and trial.value != float(np.mean([one.losses for one in by_fold]))


def _is_given_back(trial: FrozenTrial) -> bool:
    """Whether its driver was gone, and another trial took its settings."""
    return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("given back"))


def _chosen(trial: FrozenTrial) -> Settings:
    """The settings that it was to try, all of them even where its driver died before it had asked for each."""
    return trial.system_attrs.get("fixed_params", trial.params)


def _folds_of(trial: FrozenTrial) -> dict[str, Any]:
    """What is known of it, as the storage has it."""
    return {name: said for name, said in trial.user_attrs.items() if name.startswith("fold-")}


def _lease() -> dict[str, Any]:
    return {"host": HOST, "pid": os.getpid(), "until": time.time() + LEASE}
