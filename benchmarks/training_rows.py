"""How much better unseen rows are predicted by means over more folds, and by models trained on all rows."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from competition.crossval.folds import Folds, make_folds
from competition.crossval.task import Task, select_inputs, train_member
from competition.data.dataset import Dataset
from competition.models.member import Member
from competition.scoring.losses import row_errors, row_losses
from competition.scoring.standard_error import Score
from competition.tuning.trials import cross_fit_temperature
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

UNSEEN = -1  # rows that no training sees


@dataclass(frozen=True)
class Comparison:
    """Means over several training runs, for rows that none of them saw, compared with those of the first split."""

    name: str
    training_rows: int
    runs: int
    wrong: int
    log_loss: float  # after temperature scaling, cross-fitted on halves of the rows
    more_wrong: Score  # mean per row
    more_log_loss: Score
    seconds: float  # of all training runs


def compare_training_rows(
    dataset: Dataset, folds: Folds, member: Member, counts: Sequence[int], runs: int, workers: Workers
) -> Iterator[Comparison]:
    """Train on the rows outside fold 0, in so many folds or so many times on all of them, and predict fold 0."""
    unseen = folds.held_out == 0
    labels = dataset.labels[unseen]
    splits = {f"{count} folds": _split(dataset, ~unseen, count, folds.seed) for count in counts}
    splits["all rows"] = np.where(unseen, UNSEEN, runs)
    first: tuple[np.ndarray, np.ndarray] | None = None
    for name, held_out in splits.items():
        tasks = [Task(member, fold) for fold in range(held_out.max() + (name != "all rows"))]
        outcomes = workers.run(
            partial(_predict_unseen, dataset=dataset, held_out=held_out), take_in_order(tasks), ignore_event
        )
        results = [result_or_raise(task.name, outcome) for task, outcome in outcomes]
        predicted = cross_fit_temperature(np.mean([probabilities for probabilities, _ in results], axis=0), labels)
        rows = row_errors(labels, predicted), row_losses(labels, predicted)
        first = first or rows
        yield Comparison(
            name,
            int(((held_out != UNSEEN) & (held_out != 0)).sum()),
            len(tasks),
            int(rows[0].sum()),
            float(rows[1].mean()),
            Score.from_rows(rows[0] - first[0]),
            Score.from_rows(rows[1] - first[1]),
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
    model = train_member(task, dataset, ~unseen & (held_out != task.fold), lambda epoch: None)
    return model.predict_proba(select_inputs(task.member, dataset)[unseen]), time.perf_counter() - start
