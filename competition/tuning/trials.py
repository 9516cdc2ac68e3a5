"""What a worker does for a search: a fold of a trial, and the evidence that it brings back."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.task import Task, checked, trained
from competition.data.dataset import Dataset
from competition.models.interface import Rows
from competition.scoring.metrics import hits, row_log_loss
from competition.scoring.temperature import temperature, tempered
from competition.workers.base import Say

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

BLOCKS = 10  # of a fold's held-out rows, whose losses are compared between trials


@dataclass(frozen=True)
class Examination:
    """Teach a trial's settings by a share of the rows of all folds but one."""

    task: Task
    trial: int
    share: float

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.task.member.name} trial {self.trial} fold {self.task.fold}"

    @property
    def wants_gpu(self) -> bool:
        """As its task does."""
        return self.task.wants_gpu


@dataclass(frozen=True)
class Evidence:
    """What one fold says of some settings."""

    losses: tuple[float, ...]  # mean log loss of each block of rows, after a cross-fitted temperature
    wrong: int
    rows: int
    seconds: float


def examine(examination: Examination, say: Say, dataset: Dataset, folds: Folds) -> Evidence:
    """In a worker: train and predict the held-out rows; test rows are not looked at."""
    start = time.perf_counter()
    fold = examination.task.fold
    taught = _share(np.flatnonzero(folds.held_out != fold), dataset.labels, examination.share, fold)
    model = trained(examination.task, dataset, taught, lambda epoch: say("epoch", (epoch.done, epoch.of)))
    held_out = folds.held_out == fold
    labels = dataset.labels[held_out]
    said = checked(model.predict_proba(Rows(dataset.images, held_out)))
    half = np.arange(len(labels)) % 2 == 0
    cooled = np.empty_like(said, dtype=float)
    for rows in (half, ~half):
        cooled[rows] = tempered(said[rows], temperature(said[~rows], labels[~rows]))
    losses = [float(block.mean()) for block in np.array_split(row_log_loss(labels, cooled), min(BLOCKS, len(labels)))]
    wrong = int((1 - hits(labels, said)).sum())
    return Evidence(tuple(losses), wrong, len(labels), time.perf_counter() - start)


def _share(rows: np.ndarray, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of the rows, of each class as much as of the others, and in their order."""
    mixed = np.random.default_rng(seed).permutation(rows)
    by_class = [mixed[labels[mixed] == one] for one in np.unique(labels[rows])]
    return np.sort(np.concatenate([some[: math.ceil(share * len(some))] for some in by_class]))


def evidence_of(trial: "FrozenTrial | Trial") -> dict[int, Evidence]:
    """What is known of a trial, fold by fold."""
    told = {name.removeprefix("fold-"): said for name, said in trial.user_attrs.items() if name.startswith("fold-")}
    return {int(fold): Evidence(**said | {"losses": tuple(said["losses"])}) for fold, said in sorted(told.items())}
