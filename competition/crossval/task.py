"""The unit of work: training one member on all folds but one. This file is part of every fingerprint."""

import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from competition.crossval.folds import Folds
from competition.crossval.predictions import Provenance
from competition.crossval.provenance import provenance_of
from competition.data.dataset import Dataset, require_features
from competition.data.targets import TargetKind, target_kind
from competition.models.interface import Checkpoint, Classifier, EpochCallback, RowSubset, Target
from competition.models.member import Member
from competition.models.regression import BinnedRegressor

SUM_TOLERANCE = 1e-3  # by which the probabilities of a row may miss 1


@dataclass(frozen=True)
class Task:
    """Train `member` without the rows that `fold` holds out."""

    member: Member
    fold: int
    uses_all_rows: bool = False  # then `fold` numbers the training runs

    @property
    def part(self) -> str:
        """What is trained of the member, in messages."""
        return f"on all rows ({self.fold + 1})" if self.uses_all_rows else f"fold {self.fold}"

    @property
    def name(self) -> str:
        """The task's name in messages."""
        return f"{self.member.name} {self.part}"

    @property
    def wants_gpu(self) -> bool:
        """Whether the model trains faster on a GPU; only networks do."""
        return self.member.spec.is_network


@dataclass(frozen=True)
class FoldResult:
    """The result of a task."""

    held_out: np.ndarray  # (rows of the fold, outputs)
    test: np.ndarray  # (test rows, outputs)
    seconds: float
    model: bytes  # as written by `Classifier.save`
    suffix: str
    provenance: Provenance  # of the worker's code and data
    remark: str = ""  # from the model


def train_fold(
    task: Task, dataset: Dataset, folds: Folds, on_epoch: EpochCallback, checkpoint: Checkpoint | None = None
) -> FoldResult:
    """Train on the other folds, then predict the held-out and the test rows once, with the final weights.

    Training on all rows holds out none, and predicts the test rows only.
    """
    start = time.perf_counter()
    provenance = provenance_of(task.member, dataset, folds)
    held_out = folds.held_out == task.fold
    model = train_member(task, dataset, ~held_out, on_epoch, checkpoint)
    kind, nothing = target_kind(dataset.labels), np.empty((0, len(dataset.classes)))
    inputs, test_inputs = (select_inputs(task.member, dataset, test=is_test) for is_test in (False, True))
    predicted = model.predict_proba(RowSubset(inputs, held_out)) if held_out.any() else nothing
    predicted_test = model.predict_proba(test_inputs) if len(test_inputs) else nothing
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{model.suffix}"
        model.save(path)
        saved = path.read_bytes()
    seconds = time.perf_counter() - start
    held_out_predictions, test_predictions = (check_predictions(each, kind) for each in (predicted, predicted_test))
    return FoldResult(held_out_predictions, test_predictions, seconds, saved, model.suffix, provenance, model.remark)


def train_member(
    task: Task, dataset: Dataset, rows: np.ndarray, on_epoch: EpochCallback, checkpoint: Checkpoint | None = None
) -> Classifier:
    """Train the task's member on these rows, from the checkpoint on if it has a state."""
    # Each seed and fold has its own random stream; otherwise networks would start from the same weights.
    seed = int(np.random.SeedSequence([task.member.seed, task.fold]).generate_state(1)[0] % 2**31)
    inputs = select_inputs(task.member, dataset)
    spec, recipe, target = task.member.spec, task.member.recipe, Target.of(dataset.labels, dataset.classes)
    if target.kind == "number" and spec.is_network:
        recipe = replace(recipe, label_smoothing=0.0)  # which would draw numbers towards their mean
    build = partial(spec.build, recipe, seed, inputs.shape[1:])
    model: Classifier = BinnedRegressor(build) if target.kind == "number" else build(target)
    return model.fit(RowSubset(inputs, rows), dataset.labels[rows], on_epoch, checkpoint)


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


def check_predictions(predictions: np.ndarray, kind: TargetKind) -> np.ndarray:
    """Return the array if its rows are valid predictions, else raise."""
    if not len(predictions):  # a competition without test rows
        return predictions
    is_valid, faults = bool(np.isfinite(predictions).all()), "numbers (NaN or infinite)"
    if kind != "number":
        is_valid = is_valid and predictions.min() >= 0 and predictions.max() <= 1 + SUM_TOLERANCE
        faults = "probabilities (NaN, negative or above 1)"
    if kind == "class":
        is_valid = is_valid and np.allclose(predictions.sum(axis=1), 1, atol=SUM_TOLERANCE)
        faults = "probabilities (NaN, negative, or rows not summing to 1)"
    if not is_valid:
        raise FloatingPointError(f"the model returned invalid {faults}")
    return predictions
