"""Schedule the searches of several models and validate their best trials.

A search trains on a fraction of the rows of one split. Its finalists are trained on all rows of another split.
"""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner
from optuna.trial import FrozenTrial

from competition.crossval.folds import Folds
from competition.crossval.task import Task
from competition.models.member import Member
from competition.scoring.metrics import Metric
from competition.tuning.driver import run_trials
from competition.tuning.study import Study, StudyContext
from competition.tuning.trials import BLOCKS, fold_results
from competition.tuning.validation import ValidationResult, validate
from competition.workers.base import Workers
from competition.workers.events import OnEvent

PRUNE_BELOW_P = 0.1  # p-value of Wilcoxon's test at which a trial is pruned
SEARCH_SHARE = 1 / 3  # of the training rows, used in a search
TRIALS_PER_TURN = 4  # of one model before another may be scheduled
MAX_FINALISTS = 2
PRIOR_GAIN = 0.1  # reduction of a model's loss that is expected before any trial, as a fraction of it


@dataclass(frozen=True)
class SearchContext(StudyContext):
    """What all searches share: data, storage, the splits for search and validation, metric and workers."""

    folds: Folds
    validation_folds: Folds
    metric: Metric
    workers: Workers


class Search:
    """The search for one model's hyperparameters and the validation of its finalists."""

    def __init__(self, context: SearchContext, member: Member, max_trials: int, weight: float = 1.0) -> None:
        self.context, self.member, self.max_trials, self.weight = context, member, max_trials, weight
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            pruner = WilcoxonPruner(p_threshold=PRUNE_BELOW_P, n_startup_steps=BLOCKS)
        self.study = Study(context, member, context.folds, SEARCH_SHARE, pruner)
        # Without a pruner: validation needs all folds of each finalist.
        self.validation_study = Study(context, member, context.validation_folds, 1.0)
        self.finalists: list[FrozenTrial] = []

    @property
    def trial_count(self) -> int:
        """Number of trials so far."""
        return self.max_trials - self.study.remaining_trials(self.max_trials)

    @property
    def candidates(self) -> list[FrozenTrial]:
        """The best trials that beat the current defaults."""
        complete = self.study.complete_trials
        rank = next((n for n, trial in enumerate(complete) if trial.params == self.study.current), 0)
        return complete[: min(rank, MAX_FINALISTS)]

    def expected_gain_rate(self) -> float:
        """Expected reduction of the blend's loss per second, from the mean gain of a trial so far."""
        current = self.study.complete_trial(self.study.current)
        if not current:
            return 0.0 if self.trial_count else math.inf  # if the current defaults fail, there is no baseline
        baseline, best = float(current.value or 0), float(self.study.complete_trials[0].value or 0)
        gain = PRIOR_GAIN * baseline + baseline - best
        return self.weight * gain / (self.trial_count + 1) / self.study.trial_seconds()

    def validation_seconds(self) -> float:
        """Estimated duration of the validation with all workers."""
        ratio = self.validation_study.default_fold_seconds() / self.study.default_fold_seconds()
        rounds = math.ceil((1 + MAX_FINALISTS) * self.context.folds.count / self._worker_count)
        return rounds * self.study.fold_seconds() * ratio

    def remaining_seconds(self) -> float:
        """Estimated duration of the remaining trials with all workers."""
        return max(0, self.study.remaining_trials(self.max_trials)) * self.study.trial_seconds() / self._worker_count

    @property
    def _worker_count(self) -> int:
        """Number of workers that can train the model."""
        return self.context.workers.capacity(Task(self.member, 0))

    def run(self, trials: int, deadline: float, on_event: OnEvent) -> Iterator[FrozenTrial]:
        """Run up to `trials` further trials; start none that would end after the deadline."""
        total = min(self.max_trials, self.trial_count + trials)
        has_time = lambda seconds: time.monotonic() + seconds <= deadline  # noqa: E731
        yield from run_trials(self.study, self.context.workers, total, on_event, has_time)

    def validate_candidates(self, on_event: OnEvent) -> Iterator[FrozenTrial]:
        """Train the candidates and the current defaults on the split that was not used in the search."""
        # Other drivers may add better candidates meanwhile, which are not validated here.
        self.finalists = self.candidates
        for trial in self.finalists:
            self.validation_study.enqueue(trial.params)
        study = self.validation_study
        yield from run_trials(study, self.context.workers, len(study.trials), on_event)

    def validation_results(self) -> list[ValidationResult]:
        """The finalists compared with the current defaults; empty before or after a failed validation."""
        current = self.validation_study.complete_trial(self.validation_study.current)
        finalists = [(trial, self.validation_study.complete_trial(trial.params)) for trial in self.finalists]
        candidates, metric = len(self.validation_study.trials) - 1, self.context.metric
        return [
            validate(trial, fold_results(result), fold_results(current), candidates, metric)
            for trial, result in finalists
            if result and current
        ]


def schedule_searches(searches: Sequence[Search], end: float) -> Iterator[tuple[Search, int, float]]:
    """Yield (search, number of trials, deadline), the highest expected gain first, while time and trials remain.

    The deadlines reserve the time for validation before `end`.
    """
    trials = TRIALS_PER_TURN if len(searches) > 1 else searches[0].max_trials
    active = list(searches)
    while active:
        search = max(active, key=lambda search: (search.expected_gain_rate(), -search.study.trial_seconds()))
        reserved = sum(other.validation_seconds() for other in searches if other.trial_count or other is search)
        before = search.trial_count
        yield search, trials, end - reserved
        if search.trial_count == before or search.study.remaining_trials(search.max_trials) <= 0:
            active.remove(search)
