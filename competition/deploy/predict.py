"""A submission's blend on other images, by the models that cross-validation kept."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, check_probabilities
from competition.ensemble.blend import BlendSearch
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.models.member import Member
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event


def fit_combination(store: Store, members: Sequence[Member], blender: str) -> Combination:
    """What a submission's blender learned from all rows; a Problem where a member is not what it was."""
    complete = [store.predictions(member) for member in members]
    if missing := [one.member for one in complete if not one.complete]:
        raise UserError(f"{missing[0]} is not complete as it stands now; run `make submit` again")
    return BlendSearch(complete, store.dataset.labels, store.folds.held_out).learned(blender, frozenset())


def predict_blend(
    store: Store, members: Sequence[Member], blender: str, images: np.ndarray, workers: Workers
) -> np.ndarray:
    """Probabilities (images, classes): each fold's models are blended as in the submission, and the mean is taken."""
    combination = fit_combination(store, members, blender)
    classes, folds = len(store.dataset.classes), store.folds.count
    # Members of no weight are not asked; what stands in their place does not matter.
    said = np.full((folds, len(members), len(images), classes), 1 / classes, dtype=np.float32)
    places = {member: place for place, member in enumerate(members) if combination.weights[place]}
    tasks = [Task(member, fold) for member in places for fold in range(folds)]
    work = partial(_predict_fold, store=store, images=images)
    for task, outcome in workers.run(work, take_in_order(tasks), ignore_event):
        said[task.fold, places[task.member]] = result_or_raise(task.name, outcome)
    return np.mean([combination.combine(fold) for fold in said], axis=0)


def _predict_fold(task: Task, emit: Emit, store: Store, images: np.ndarray) -> np.ndarray:
    """In a worker: the kept model's word."""
    return check_probabilities(store.load_model(task.member, task.fold).predict_proba(images)).astype(np.float32)
