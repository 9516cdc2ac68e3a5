"""Predict new images with a submission's blend, by the models that cross-validation saved."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, check_predictions
from competition.data.targets import target_kind
from competition.ensemble.blend import BlendSearch
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.models.interface import Inputs
from competition.models.member import Member
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event


def fit_combination(store: Store, members: Sequence[Member], blender: str) -> Combination:
    """The blender's combination of these members, fitted on all out-of-fold rows."""
    predictions = [store.predictions(member) for member in members]
    if incomplete := [each.member for each in predictions if not each.complete]:
        submit = store.command("submit", models=" ".join(member.name for member in members))
        raise UserError(f"{incomplete[0]} is incomplete, or its code or data have changed; run `{submit}` again")
    return BlendSearch(predictions, store.dataset.labels, store.folds.held_out).fit(blender)


def predict_blend(
    store: Store, members: Sequence[Member], blender: str, inputs: Mapping[Inputs, np.ndarray], workers: Workers
) -> np.ndarray:
    """Predictions (images, outputs): the mean over folds of the blend of each fold's models."""
    combination = fit_combination(store, members, blender)
    outputs, folds = len(store.dataset.classes), store.folds.count
    # Members without a weight do not predict; their uniform probabilities have no effect.
    stacks = np.full((folds, len(members), len(inputs["images"]), outputs), 1 / outputs, dtype=np.float32)
    positions = {member: number for number, member in enumerate(members) if combination.weights[number]}
    store.require_image_models(list(positions))
    tasks = [Task(member, fold) for member in positions for fold in range(folds)]
    predict = partial(_predict_fold, store=store, inputs=inputs)
    for task, outcome in workers.run(predict, take_in_order(tasks), ignore_event):
        stacks[task.fold, positions[task.member]] = result_or_raise(task.name, outcome)
    return np.mean([combination.combine(stack) for stack in stacks], axis=0)


def _predict_fold(task: Task, emit: Emit, store: Store, inputs: Mapping[Inputs, np.ndarray]) -> np.ndarray:
    """Runs in a worker: predict with the saved model of one fold."""
    predictions = store.load_model(task.member, task.fold).predict_proba(inputs[task.member.spec.inputs])
    return check_predictions(predictions, target_kind(store.dataset.labels)).astype(np.float32)
