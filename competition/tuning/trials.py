"""The task of a worker in a search: train and evaluate one fold of a trial."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from competition.crossval.folds import Folds, stratify
from competition.crossval.task import Task, check_predictions, select_inputs, train_member
from competition.data.dataset import Dataset
from competition.data.targets import target_kind
from competition.models.interface import MIN_CLASS_ROWS, RowSubset
from competition.scoring.losses import is_correct, row_losses
from competition.scoring.multilabel import from_binary, to_binary
from competition.scoring.temperature import apply_temperature, fit_temperature
from competition.workers.base import Emit

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

MIN_STRATUM_ROWS = 10  # of rare sets of labels that are merged
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

    losses: tuple[float, ...]  # mean loss of each block of rows; log loss after a cross-fitted temperature
    wrong: int | None  # None for numbers
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
    kind = target_kind(labels)
    inputs = RowSubset(select_inputs(trial_fold.task.member, dataset), held_out)
    predictions = check_predictions(model.predict_proba(inputs), kind)
    row_loss = row_losses(labels, predictions if kind == "number" else cross_fit_temperature(predictions, labels))
    losses = [float(block.mean()) for block in np.array_split(row_loss, min(BLOCKS, len(labels)))]
    wrong = None if kind == "number" else int((1 - is_correct(labels, predictions)).sum())
    return TrialFoldResult(tuple(losses), wrong, len(labels), time.perf_counter() - start)


def cross_fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scale each half of the rows by the temperature that is best for the other half."""
    half = np.arange(len(labels)) % 2 == 0
    calibrated = np.empty_like(probabilities, dtype=float)
    for rows in (half, ~half):
        others, target = probabilities[~rows], labels[~rows]
        if target_kind(labels) == "labels":
            temperature = fit_temperature(to_binary(others), target.ravel())
            scaled = apply_temperature(to_binary(probabilities[rows]), temperature)
            calibrated[rows] = from_binary(scaled, labels.shape[1])
        else:
            calibrated[rows] = apply_temperature(probabilities[rows], fit_temperature(others, target))
    return calibrated


def stratified_sample(rows: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A stratified random fraction of the rows, in ascending order, with enough of each stratum to calibrate on."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    strata = stratify(labels[shuffled], MIN_STRATUM_ROWS)
    by_stratum = [shuffled[strata == stratum] for stratum in np.unique(strata)]
    return np.sort(
        np.concatenate([rows[: max(math.ceil(fraction * len(rows)), MIN_CLASS_ROWS)] for rows in by_stratum])
    )


def fold_results(trial: "FrozenTrial | Trial") -> dict[int, TrialFoldResult]:
    """The results of a trial's finished folds, by fold."""
    attrs = {name.removeprefix("fold-"): value for name, value in trial.user_attrs.items() if name.startswith("fold-")}
    return {
        int(fold): TrialFoldResult(**value | {"losses": tuple(value["losses"])})
        for fold, value in sorted(attrs.items())
    }


def mean_loss(results: Iterable[TrialFoldResult]) -> float:
    """The mean loss of a trial's folds, over all blocks of rows."""
    return float(np.mean(np.concatenate([result.losses for result in results])))
