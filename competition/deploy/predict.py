"""A submission's blend on other images, by the models that cross-validation kept."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, checked
from competition.ensemble.blend import Blending
from competition.ensemble.blenders import Combination
from competition.errors import Problem
from competition.models.member import Member
from competition.workers.base import Say, Workers, in_turn, succeeded


def learned(store: Store, members: Sequence[Member], blender: str) -> Combination:
    """What a submission's blender learned from all rows; a Problem where a member is not what it was."""
    complete = [store.predictions(member) for member in members]
    if missing := [one.member for one in complete if not one.complete]:
        raise Problem(f"{missing[0]} is not complete as it stands now; run `make submit` again")
    return Blending(complete, store.dataset.labels, store.folds.held_out).learned(blender, frozenset())


def blended(store: Store, members: Sequence[Member], blender: str, images: np.ndarray, workers: Workers) -> np.ndarray:
    """Probabilities (images, classes): each fold's models are blended as in the submission, and the mean is taken."""
    combination = learned(store, members, blender)
    classes, folds = len(store.dataset.classes), store.folds.count
    # Members of no weight are not asked; what stands in their place does not matter.
    said = np.full((folds, len(members), len(images), classes), 1 / classes, dtype=np.float32)
    places = {member: place for place, member in enumerate(members) if combination.weights[place]}
    tasks = [Task(member, fold) for member in places for fold in range(folds)]
    work = partial(_predicted, store=store, images=images)
    for task, outcome in workers.run(work, in_turn(tasks), _deaf):
        said[task.fold, places[task.member]] = succeeded(task.name, outcome)
    return np.mean([combination.combine(fold) for fold in said], axis=0)


def _predicted(task: Task, say: Say, store: Store, images: np.ndarray) -> np.ndarray:
    """In a worker: the kept model's word."""
    return checked(store.kept(task.member, task.fold).predict_proba(images)).astype(np.float32)


def _deaf(*said: object) -> None:
    """What starts and ends is not told; it takes seconds."""
