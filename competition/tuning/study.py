"""A study: the trials of one model on one split, in a storage that several drivers may share."""

import hashlib
import inspect
import json
import os
import platform
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState

from competition.crossval.folds import Folds
from competition.crossval.provenance import provenance_of
from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.models.hyperparameters import Hyperparameters, describe_recipe, get_hyperparameters
from competition.models.member import Member
from competition.tuning.trials import BLOCKS, fold_results, mean_loss, run_trial_fold

REPLACES = "replaces"  # user attribute: number of the unfinished trial that this one repeats
DUPLICATE = "duplicate"  # user attribute of a trial that was dropped because an earlier one has its hyperparameters

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class StudyContext:
    """What all studies of a competition share."""

    competition: str
    config: Config
    dataset: Dataset
    storage: RDBStorage


class Study:
    """An Optuna study of a model on one split, trained on a fraction of its rows.

    Each version of the code and data has its own study. The competition's config limits the augmentation of each trial.
    """

    def __init__(
        self,
        context: StudyContext,
        member: Member,
        folds: Folds,
        train_fraction: float,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:
        self.context, self.member, self.folds, self.train_fraction = context, member, folds, train_fraction
        self.current = current_hyperparameters(member).params
        self.name = f"{context.competition} {member.kind} {folds.name} share {train_fraction:.2f} {self._digest()[:8]}"
        self.optuna_study = optuna.create_study(
            storage=context.storage,
            study_name=self.name,
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        # A resumed study or a second driver must not repeat the same random samples.
        entropy = np.random.SeedSequence([folds.seed, len(self.trials), os.getpid(), *platform.node().encode()])
        self.optuna_study.sampler = optuna.samplers.TPESampler(
            multivariate=True, constant_liar=True, seed=int(entropy.generate_state(1)[0])
        )
        self._report_damage()
        self.requeue_stale_trials()
        self.enqueue(self.current)

    def _digest(self) -> str:
        """A digest of everything that makes trials comparable."""
        current = current_hyperparameters(self.member)
        inputs = provenance_of(replace(self.member, recipe=None), self.context.dataset, self.folds)
        fixed = {
            name: describe_recipe(value)
            for name, value in get_hyperparameters(self.member.recipe).items()
            if name not in current.params
        }
        source, search_space = inspect.getsource(run_trial_fold), sorted(current.distributions.items())
        objective = source, search_space, sorted(self.context.config.limits.items())
        return hashlib.sha256(f"{sorted(inputs.items())} {fixed} {BLOCKS} {objective}".encode()).hexdigest()

    def _report_damage(self) -> None:
        for trial in self.optuna_study.get_trials(deepcopy=False):
            if _is_damaged(trial):
                text = f"trial {trial.number} of {self.name} is corrupted in the database"
                print(f"{text}; it is ignored and another one replaces it", file=sys.stderr, flush=True)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials except damaged ones and those that another trial repeats."""
        trials = self.optuna_study.get_trials(deepcopy=False)
        return [trial for trial in trials if not _is_unfinished(trial) and not _is_damaged(trial)]

    @property
    def complete_trials(self) -> list[FrozenTrial]:
        """The trials with results on all folds, the best first."""
        finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(finished, key=lambda trial: float(trial.value or 0))

    def complete_trial(self, params: Hyperparameters) -> FrozenTrial | None:
        """The complete trial with these hyperparameters."""
        return next((trial for trial in self.complete_trials if trial.params == params), None)

    def frozen_trial(self, number: int) -> FrozenTrial:
        """The trial with this number as stored."""
        return self.optuna_study.get_trials(deepcopy=False)[number]

    def fold_seconds(self) -> float:
        """Duration of a fold: the mean of finished ones, by default the model's estimate."""
        seconds = [result.seconds for trial in self.trials for result in fold_results(trial).values()]
        return float(np.mean(seconds)) if seconds else self.default_fold_seconds()

    def default_fold_seconds(self) -> float:
        """The model's estimate for a fold on the reference machine."""
        dataset = self.context.dataset
        rows = self.folds.training_rows * self.train_fraction
        return self.member.training_seconds(rows, dataset.images.shape[1:])

    def trial_seconds(self) -> float:
        """Duration of a trial with one worker if it is not pruned."""
        return self.folds.count * self.fold_seconds()

    def remaining_trials(self, total: int) -> int:
        """Number of trials to start to reach the total; those that other drivers run count as started."""
        return total - sum(trial.state != TrialState.WAITING for trial in self.trials)

    def enqueue(self, params: Hyperparameters) -> None:
        """Try these hyperparameters next, unless a trial that did not fail has them already."""
        if params not in [_requested_params(trial) for trial in self.trials if trial.state != TrialState.FAIL]:
            self.optuna_study.enqueue_trial(params)

    def ask(self) -> Trial | None:
        """Start the next trial; None if it was dropped as a duplicate."""
        with warnings.catch_warnings(action="ignore"):  # ask() does not send heartbeats, which the driver does
            trial = self.optuna_study.ask()
        self.record_heartbeat(trial.number)
        if self._drop_duplicate(trial):
            return None
        with warnings.catch_warnings(action="ignore"):  # an enqueued value may be outside the search space
            self.member.spec.search_space(trial)
        return trial

    def tell(self, number: int, state: TrialState, value: float | None = None) -> FrozenTrial:
        """End a trial; `UpdateFinishedTrialError` if another driver has ended it already."""
        try:
            return self.optuna_study.tell(number, value, state)
        except ValueError as error:
            if self.frozen_trial(number).state.is_finished():
                raise UpdateFinishedTrialError from error
            raise

    def end(self, number: int, state: TrialState, value: float | None = None) -> FrozenTrial:
        """End a trial with a checksum of its results."""
        self._set_attr(number, "checksum", _checksum(self.frozen_trial(number)))
        self.tell(number, state, value)
        return self.frozen_trial(number)

    def requeue(self, number: int) -> None:
        """End an unfinished trial, and enqueue its hyperparameters and finished folds."""
        with suppress(UpdateFinishedTrialError):
            self.tell(number, TrialState.FAIL)
            self._enqueue_again(self.frozen_trial(number))

    def requeue_stale_trials(self) -> bool:
        """Requeue the trials whose drivers send no heartbeats any more; return whether there were any."""
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            optuna.storages.fail_stale_trials(self.optuna_study)
        trials = self.optuna_study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(REPLACES) for trial in trials}
        lost = [trial for trial in trials if _is_unfinished(trial) and trial.number not in repeated]
        lost = [trial for trial in lost if DUPLICATE not in trial.user_attrs]
        for trial in lost:
            self._enqueue_again(trial)
        return bool(lost)

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        attrs = _fold_attrs(trial) | {REPLACES: trial.number}
        # Optuna's RetryHeartbeatStaleTrialCallback rejects values outside the search space, which a default may have.
        self.optuna_study.enqueue_trial(_requested_params(trial), user_attrs=attrs)

    def _drop_duplicate(self, trial: Trial) -> bool:
        """End the trial if an earlier one has its enqueued hyperparameters; two drivers may enqueue them at once."""
        params = _requested_params(self.frozen_trial(trial.number))
        earlier = [other for other in self.trials if other.number < trial.number and other.state != TrialState.FAIL]
        if not params or params not in map(_requested_params, earlier):
            return False
        trial.set_user_attr(DUPLICATE, True)
        self.tell(trial.number, TrialState.FAIL)
        return True

    def record_heartbeat(self, number: int) -> None:
        """Tell other drivers that the trial is running."""
        self.context.storage.record_heartbeat(self._trial_id(number))

    def _set_attr(self, number: int, name: str, value: Any) -> None:
        self.context.storage.set_trial_user_attr(self._trial_id(number), name, value)

    def _trial_id(self, number: int) -> int:
        storage = self.context.storage
        return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(self.name), number)


def current_hyperparameters(member: Member) -> FixedTrial:
    """The values in the member's recipe of the hyperparameters in its search space, with their distributions."""
    trial = FixedTrial(get_hyperparameters(member.recipe))
    with warnings.catch_warnings(action="ignore"):  # a current value may be outside the search space
        member.spec.search_space(trial)
    return trial


def _checksum(trial: FrozenTrial) -> str:
    """SHA-256 of a trial's hyperparameters and results, since databases do not detect changed bytes."""
    return hashlib.sha256(json.dumps([trial.params, _fold_attrs(trial)], sort_keys=True).encode()).hexdigest()


def _is_damaged(trial: FrozenTrial) -> bool:
    """Whether a finished trial differs from what was stored when it ended."""
    if not trial.state.is_finished() or "checksum" not in trial.user_attrs:
        return False
    if trial.user_attrs["checksum"] != _checksum(trial):
        return True
    return trial.state == TrialState.COMPLETE and trial.value != mean_loss(fold_results(trial).values())


def _is_unfinished(trial: FrozenTrial) -> bool:
    """Whether the trial ended before it had a result, because its driver stopped."""
    return trial.state == TrialState.FAIL and "checksum" not in trial.user_attrs


def _requested_params(trial: FrozenTrial) -> Hyperparameters:
    """The hyperparameters including enqueued ones that the driver had not suggested yet when it died."""
    return trial.system_attrs.get("fixed_params", {}) | trial.params


def _fold_attrs(trial: FrozenTrial) -> dict[str, Any]:
    """The user attributes that hold results of folds."""
    return {name: value for name, value in trial.user_attrs.items() if name.startswith("fold-")}
