"""The task of a worker in a search: train and evaluate one fold of a trial."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.task import Task, check_probabilities, select_inputs, train_member
from competition.data.dataset import Dataset
from competition.models.interface import RowSubset
from competition.scoring.metrics import is_correct, row_log_loss
from competition.scoring.temperature import apply_temperature, fit_temperature
from competition.workers.base import Emit

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

BLOCKS = 10  # of a fold's held-out rows, whose mean losses the pruner compares between trials


@dataclass(frozen=True)
class TrialFold:
    """A fold of a trial, to be trained on a fraction of the rows of all other folds."""

    task: Task
    trial: int
    train_fraction: float

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.task.member.name} trial {self.trial} fold {self.task.fold}"

    @property
    def wants_gpu(self) -> bool:
        """Whether the model trains faster on a GPU."""
        return self.task.wants_gpu


@dataclass(frozen=True)
class TrialFoldResult:
    """Losses and errors on the held-out rows of a fold."""

    losses: tuple[float, ...]  # mean log loss of each block of rows, after a cross-fitted temperature
    wrong: int
    rows: int
    seconds: float


def run_trial_fold(trial_fold: TrialFold, emit: Emit, dataset: Dataset, folds: Folds) -> TrialFoldResult:
    """Train in a worker and score the held-out rows; test rows are not used."""
    start = time.perf_counter()
    fold = trial_fold.task.fold
    training_rows = stratified_sample(
        np.flatnonzero(folds.held_out != fold), dataset.labels, trial_fold.train_fraction, fold
    )
    model = train_member(trial_fold.task, dataset, training_rows, lambda epoch: emit((epoch.number, epoch.total)))
    held_out = folds.held_out == fold
    labels = dataset.labels[held_out]
    inputs = RowSubset(select_inputs(trial_fold.task.member, dataset), held_out)
    probabilities = check_probabilities(model.predict_proba(inputs))
    half = np.arange(len(labels)) % 2 == 0
    calibrated = np.empty_like(probabilities, dtype=float)
    for rows in (half, ~half):
        calibrated[rows] = apply_temperature(probabilities[rows], fit_temperature(probabilities[~rows], labels[~rows]))
    losses = [
        float(block.mean()) for block in np.array_split(row_log_loss(labels, calibrated), min(BLOCKS, len(labels)))
    ]
    wrong = int((1 - is_correct(labels, probabilities)).sum())
    return TrialFoldResult(tuple(losses), wrong, len(labels), time.perf_counter() - start)


def stratified_sample(rows: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A stratified random fraction of the rows, in ascending order."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    by_class = [shuffled[labels[shuffled] == label] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate([of_class[: math.ceil(fraction * len(of_class))] for of_class in by_class]))


def fold_results(trial: "FrozenTrial | Trial") -> dict[int, TrialFoldResult]:
    """The results of a trial's finished folds, by fold."""
    attrs = {name.removeprefix("fold-"): value for name, value in trial.user_attrs.items() if name.startswith("fold-")}
    return {
        int(fold): TrialFoldResult(**value | {"losses": tuple(value["losses"])})
        for fold, value in sorted(attrs.items())
    }
