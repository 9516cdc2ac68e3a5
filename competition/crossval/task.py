"""The unit of work: training one member on all folds but one. This file is part of every fingerprint."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.predictions import Ingredients
from competition.crossval.provenance import ingredients
from competition.data.dataset import Dataset, require_features
from competition.models.interface import Classifier, EpochCallback, RowSubset
from competition.models.member import Member


@dataclass(frozen=True)
class Task:
    """Train `member` without the rows that `fold` holds out."""

    member: Member
    fold: int

    @property
    def name(self) -> str:
        """The task's name in messages."""
        return f"{self.member.name} fold {self.fold}"

    @property
    def wants_gpu(self) -> bool:
        """Whether the model trains faster on a GPU; only networks do."""
        return self.member.spec.is_network


@dataclass(frozen=True)
class FoldResult:
    """The result of a task."""

    held_out: np.ndarray  # (rows of the fold, classes)
    test: np.ndarray  # (test rows, classes)
    seconds: float
    model: bytes  # as written by `Classifier.save`
    suffix: str
    ingredients: Ingredients  # of the worker's code and data
    remark: str = ""  # from the model


def train_fold(task: Task, dataset: Dataset, folds: Folds, on_epoch: EpochCallback) -> FoldResult:
    """Train on the other folds, then predict the held-out and the test rows once, with the final weights."""
    start = time.perf_counter()
    made_of = ingredients(task.member, dataset, folds)
    held_out = folds.held_out == task.fold
    model = train_member(task, dataset, ~held_out, on_epoch)
    held_out_probabilities = check_probabilities(
        model.predict_proba(RowSubset(select_inputs(task.member, dataset), held_out))
    )
    test_inputs, outputs = select_inputs(task.member, dataset, test=True), held_out_probabilities.shape[1]
    predicted = model.predict_proba(test_inputs) if len(test_inputs) else np.empty((0, outputs))
    test_probabilities = check_probabilities(predicted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{model.suffix}"
        model.save(path)
        saved = path.read_bytes()
    seconds = time.perf_counter() - start
    return FoldResult(held_out_probabilities, test_probabilities, seconds, saved, model.suffix, made_of, model.remark)


def train_member(task: Task, dataset: Dataset, rows: np.ndarray, on_epoch: EpochCallback) -> Classifier:
    """Train the task's member on these rows."""
    # Each seed and fold has its own random stream; otherwise networks would start from the same weights.
    seed = int(np.random.SeedSequence([task.member.seed, task.fold]).generate_state(1)[0] % 2**31)
    inputs = select_inputs(task.member, dataset)
    model = task.member.spec.build(task.member.recipe, seed, inputs.shape[1:], len(dataset.classes))
    return model.fit(RowSubset(inputs, rows), dataset.labels[rows], on_epoch)


def select_inputs(member: Member, dataset: Dataset, test: bool = False) -> np.ndarray:
    """The training or test rows of what the member learns from: images, pretrained features or columns."""
    if member.uses_columns:
        return dataset.test_columns if test else dataset.columns
    if member.uses_features:
        return require_features(dataset).load("test" if test else "train")
    return dataset.test_images if test else dataset.images


def input_shape(member: Member, dataset: Dataset) -> tuple[int, ...]:
    """The shape of a row of what the member learns from; features need not be extracted yet."""
    if member.uses_features:
        return require_features(dataset).shape
    return select_inputs(member, dataset).shape[1:]


def check_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the array if its rows are probabilities, else raise."""
    sums = probabilities.sum(axis=1)
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all() and np.allclose(sums, 1, atol=1e-3)):
        raise FloatingPointError("the model returned invalid probabilities (NaN, negative, or rows not summing to 1)")
    return probabilities
