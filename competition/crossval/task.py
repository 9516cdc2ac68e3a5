"""The unit of work: one member trained on all folds but one. Its source is part of every fingerprint."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.provenance import Ingredients, ingredients
from competition.data.dataset import Dataset
from competition.models.interface import Classifier, Observer, Rows
from competition.models.member import Member


@dataclass(frozen=True)
class Task:
    """Train `member` without the rows that `fold` holds out."""

    member: Member
    fold: int

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.member.name} fold {self.fold}"

    @property
    def wants_gpu(self) -> bool:
        """Networks do; nothing else gains from one."""
        return self.member.spec.is_network


@dataclass(frozen=True)
class FoldResult:
    """What a task hands back."""

    held_out: np.ndarray  # (rows of the fold, classes)
    test: np.ndarray  # (test rows, classes)
    seconds: float
    model: bytes  # as `Classifier.save` wrote it
    suffix: str
    made_of: Ingredients  # as the worker found them
    remark: str = ""  # the model's own


def perform(task: Task, dataset: Dataset, folds: Folds, observer: Observer) -> FoldResult:
    """Train on the other folds, then predict the held-out and the test rows once, with the last weights."""
    start = time.perf_counter()
    made_of = ingredients(task.member, dataset, folds)
    held_out = folds.held_out == task.fold
    model = trained(task, dataset, ~held_out, observer)
    predicted = checked(model.predict_proba(Rows(dataset.images, held_out)))
    test = checked(model.predict_proba(dataset.test_images))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{model.suffix}"
        model.save(path)
        kept = path.read_bytes()
    return FoldResult(predicted, test, time.perf_counter() - start, kept, model.suffix, made_of, model.remark)


def trained(task: Task, dataset: Dataset, rows: np.ndarray, observer: Observer) -> Classifier:
    """The task's member, taught by these rows."""
    # A stream of its own for each seed and fold, or networks would start from the same weights.
    seed = int(np.random.SeedSequence([task.member.seed, task.fold]).generate_state(1)[0] % 2**31)
    model = task.member.spec.build(task.member.recipe, seed, dataset.images.shape[1:], len(dataset.classes))
    return model.fit(Rows(dataset.images, rows), dataset.labels[rows], observer)


def checked(probabilities: np.ndarray) -> np.ndarray:
    """The probabilities, if they are some."""
    sums = probabilities.sum(axis=1)
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all() and np.allclose(sums, 1, atol=1e-3)):
        raise FloatingPointError("its predictions are not probabilities")
    return probabilities
