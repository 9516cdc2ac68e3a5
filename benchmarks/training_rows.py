"""How much better unseen rows are predicted by means over more folds, and by models trained on all rows."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from competition.crossval.folds import Folds, make_folds
from competition.crossval.task import Task, train_member
from competition.data.dataset import Dataset
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.scoring.metrics import log_loss
from competition.scoring.temperature import apply_temperature, fit_temperature
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

UNSEEN = -1  # rows that no training sees


@dataclass(frozen=True)
class Prediction:
    """The mean predictions of several trainings, for rows that none of them saw."""

    name: str
    training_rows: int
    trainings: int
    wrong: int
    log_loss: float  # after temperature scaling
    seconds: float  # of all trainings


def compare_training_rows(
    dataset: Dataset, folds: Folds, member: Member, counts: Sequence[int], trainings: int, workers: Workers
) -> Iterator[Prediction]:
    """Train on the rows outside fold 0, in so many folds or so many times on all of them, and predict fold 0."""
    unseen = folds.held_out == 0
    labels = dataset.labels[unseen]
    splits = {f"{count} folds": _split(dataset, ~unseen, count, folds.seed) for count in counts}
    splits["all rows"] = np.where(unseen, UNSEEN, trainings)
    for name, held_out in splits.items():
        tasks = [Task(member, fold) for fold in range(held_out.max() + (name != "all rows"))]
        outcomes = workers.run(
            partial(_predict_unseen, dataset=dataset, held_out=held_out), take_in_order(tasks), ignore_event
        )
        results = [result_or_raise(task.name, outcome) for task, outcome in outcomes]
        predicted = np.mean([probabilities for probabilities, _ in results], axis=0)
        scaled = apply_temperature(predicted, fit_temperature(predicted, labels))
        yield Prediction(
            name,
            int(((held_out != UNSEEN) & (held_out != 0)).sum()),
            len(tasks),
            int((predicted.argmax(axis=1) != labels).sum()),
            log_loss(labels, scaled).value,
            sum(seconds for _, seconds in results),
        )


def _split(dataset: Dataset, training: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each training row; UNSEEN for the others."""
    held_out = np.full(len(training), UNSEEN, dtype=np.int32)
    rows = {name: getattr(dataset, name)[training] for name in ("images", "labels", "train_ids", "groups")}
    held_out[training] = make_folds(replace(dataset, **rows), count, seed).held_out
    return held_out


def _predict_unseen(task: Task, emit: Emit, dataset: Dataset, held_out: np.ndarray) -> tuple[np.ndarray, float]:
    """Train in a worker; return the predictions for the unseen rows and the seconds."""
    start, unseen = time.perf_counter(), held_out == UNSEEN
    model = train_member(task, dataset, ~unseen & (held_out != task.fold), _ignore)
    return model.predict_proba(dataset.images[unseen]), time.perf_counter() - start


def _ignore(epoch: Epoch) -> None:
    """An epoch is not reported."""
