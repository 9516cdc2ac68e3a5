"""Predict new images with a submission's blend, by the models that cross-validation saved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, check_probabilities
from competition.ensemble.blend import BlendSearch
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.models.interface import Predictor
from competition.models.member import Member
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

LoadModel = Callable[[Member, int], Predictor]  # the model of a member's fold


def fit_combination(store: Store, members: Sequence[Member], blender: str) -> Combination:
    """The blender's combination of these members, fitted on all out-of-fold rows."""
    predictions = [store.predictions(member) for member in members]
    if incomplete := [each.member for each in predictions if not each.complete]:
        submit = store.command("submit", models=" ".join(member.name for member in members))
        raise UserError(f"{incomplete[0]} is incomplete, or its code or data have changed; run `{submit}` again")
    return BlendSearch(predictions, store.dataset.labels, store.folds.held_out).fit(blender)


def predict_blend(
    store: Store, members: Sequence[Member], blender: str, images: np.ndarray, workers: Workers
) -> np.ndarray:
    """Probabilities (images, classes): the mean over folds of the blend of each fold's models."""
    models = BlendModels(
        tuple(members), store.folds.count, len(store.dataset.classes), fit_combination(store, members, blender)
    )
    store.require_image_models(list(models.positions))
    return predict_combination(models, store.load_model, images, workers)


@dataclass(frozen=True)
class BlendModels:
    """The members of a blend, each with a model for each fold, and how they are combined."""

    members: tuple[Member, ...]
    folds: int
    classes: int
    combination: Combination

    @property
    def positions(self) -> dict[Member, int]:
        """The positions of the members that have a weight; the others need not predict."""
        return {member: number for number, member in enumerate(self.members) if self.combination.weights[number]}


def predict_combination(blend: BlendModels, load_model: LoadModel, images: np.ndarray, workers: Workers) -> np.ndarray:
    """Probabilities (images, classes) of a blend whose models are loaded by `load_model`."""
    # Members without a weight do not predict; their uniform probabilities have no effect.
    stacks = np.full((blend.folds, len(blend.members), len(images), blend.classes), 1 / blend.classes, dtype=np.float32)
    positions = blend.positions
    tasks = [Task(member, fold) for member in positions for fold in range(blend.folds)]
    predict = partial(_predict_fold, load_model=load_model, images=images)
    for task, outcome in workers.run(predict, take_in_order(tasks), ignore_event):
        stacks[task.fold, positions[task.member]] = result_or_raise(task.name, outcome)
    return np.mean([blend.combination.combine(stack) for stack in stacks], axis=0)


def _predict_fold(task: Task, emit: Emit, load_model: LoadModel, images: np.ndarray) -> np.ndarray:
    """Runs in a worker: predict with the saved model of one fold."""
    return check_probabilities(load_model(task.member, task.fold).predict_proba(images)).astype(np.float32)
