"""How tuning spends its time: which model's search goes on, when it has to end, and who is judged.

The search teaches by a share of the rows, on one split. The best are judged, taught by all rows, on another.
"""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from competition.crossval.folds import Folds
from competition.crossval.task import Task
from competition.data.config import Rules
from competition.data.dataset import Dataset
from competition.models.member import Member
from competition.scoring.metrics import Metric
from competition.tuning.study import HOPELESS, Study
from competition.tuning.trials import BLOCKS, evidence_of
from competition.tuning.validation import Verdict, judged
from competition.workers.base import Say, Workers

SHARE = 1 / 3  # of the rows that a search teaches by
SLICE = 4  # trials of one model, then the turn may be another's
FINALISTS = 2  # are judged
HOPE = 0.1  # the share of its log loss that a model is thought to have in store before anything was tried


@dataclass(frozen=True)
class Place:
    """Where studies are made: data, the split to search on, the split to judge on, workers and a storage."""

    competition: str
    metric: Metric
    rules: Rules
    dataset: Dataset
    folds: Folds
    other_folds: Folds
    workers: Workers
    storage: BaseStorage


class Search:
    """One model's search and what may follow from it."""

    def __init__(self, place: Place, member: Member, trials: int, weight: float = 1.0) -> None:
        self.place, self.member, self.total, self.weight = place, member, trials, weight
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            pruner = WilcoxonPruner(p_threshold=HOPELESS, n_startup_steps=BLOCKS)
        common = place.competition, member, place.dataset
        self.study = Study(*common, place.folds, SHARE, place.storage, pruner, place.rules)
        # Nothing is given up here: every fold of those that are judged is trained.
        self.judgement = Study(*common, place.other_folds, 1.0, place.storage, rules=place.rules)
        self.finalists: list[FrozenTrial] = []

    @property
    def tried(self) -> int:
        """How many trials there are."""
        return self.total - self.study.to_do(self.total)

    @property
    def candidates(self) -> list[FrozenTrial]:
        """The best that promise more than the present settings."""
        complete = self.study.complete
        rank = next((n for n, trial in enumerate(complete) if trial.params == self.study.present), 0)
        return complete[: min(rank, FINALISTS)]

    def promise(self) -> float:
        """Log loss of the blend that another minute is thought to save: what was gained for a trial so far."""
        present = self.study.of(self.study.present)
        if not present:
            return 0.0 if self.tried else math.inf  # where the present settings fail there is nothing to beat
        before, best = float(present.value or 0), float(self.study.complete[0].value or 0)
        return self.weight * (HOPE * before + before - best) / (self.tried + 1) / self.study.trial_seconds()

    def judging_seconds(self) -> float:
        """What judging will take, all workers together."""
        fold = self.study.seconds() * self.judgement.usual_seconds() / self.study.usual_seconds()
        return math.ceil((1 + FINALISTS) * self.place.folds.count / self._workers) * fold

    def left(self) -> float:
        """Seconds to the end of the search, all workers together."""
        return max(0, self.study.to_do(self.total)) * self.study.trial_seconds() / self._workers

    @property
    def _workers(self) -> int:
        """How many can train the model."""
        return self.place.workers.able(Task(self.member, 0))

    def run(self, trials: int, until: float, hear: Say) -> Iterator[FrozenTrial]:
        """Go on with so many further trials; none is begun that cannot be finished by then."""
        total = min(self.total, self.tried + trials)
        in_time = lambda seconds: time.monotonic() + seconds <= until  # noqa: E731
        yield from self.study.run(self.place.workers, total, hear, in_time)

    def judge(self, hear: Say) -> Iterator[FrozenTrial]:
        """Try the candidates and the present settings on the other split, whose folds did not find them."""
        self.finalists = self.candidates  # others may find better ones meanwhile, which nobody has judged
        for trial in self.finalists:
            self.judgement.enqueue(trial.params)
        yield from self.judgement.run(self.place.workers, len(self.judgement.trials), hear)

    def verdicts(self) -> list[Verdict]:
        """What the judgement says of the candidates, once it is through."""
        present = self.judgement.of(self.judgement.present)
        results = [(trial, self.judgement.of(trial.params)) for trial in self.finalists]
        so_far = len(self.judgement.trials) - 1
        return [
            judged(trial.params, trial.number, evidence_of(result), evidence_of(present), so_far, self.place.metric)
            for trial, result in results
            if result and present
        ]


def turns(searches: Sequence[Search], end: float) -> Iterator[tuple[Search, int, float]]:
    """Whose turn it is, for how many trials and until when, as long as anything can be done and judged in time."""
    trials = SLICE if len(searches) > 1 else searches[0].total
    active = list(searches)
    while active:
        search = max(active, key=lambda one: (one.promise(), -one.study.trial_seconds()))
        reserved = sum(one.judging_seconds() for one in searches if one.tried or one is search)
        before = search.tried
        yield search, trials, end - reserved
        if search.tried == before or search.study.to_do(search.total) <= 0:
            active.remove(search)
