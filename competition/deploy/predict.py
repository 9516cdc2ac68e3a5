"""Predict new images with a submission's blend, by the models that cross-validation saved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from competition.crossval.store import Store
from competition.crossval.task import Task, check_predictions
from competition.data.targets import TargetKind
from competition.ensemble.blend import BlendSearch
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.models.interface import CompiledPredictor, Inputs, Predictor, Target
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


def fit_blend(store: Store, members: Sequence[Member], blender: str) -> "BlendModels":
    """The members and the blender's combination of them."""
    target = Target.of(store.dataset.labels, store.dataset.classes)
    inputs = tuple(store.trained_as(member).spec.inputs for member in members)
    return BlendModels(tuple(members), store.folds.count, target, fit_combination(store, members, blender), inputs)


def predict_blend(
    store: Store, members: Sequence[Member], blender: str, inputs: Mapping[Inputs, np.ndarray], workers: Workers
) -> np.ndarray:
    """Predictions (images, outputs): the mean over folds of the blend of each fold's models."""
    models = fit_blend(store, members, blender)
    store.require_image_models(list(models.positions))
    return predict_combination(models, store.load_model, inputs, workers)


@dataclass(frozen=True)
class BlendModels:
    """The members of a blend, each with a model for each fold, and how they are combined."""

    members: tuple[Member, ...]
    folds: int
    target: Target
    combination: Combination
    inputs: tuple[Inputs, ...]  # what each member learns from

    @property
    def positions(self) -> dict[Member, int]:
        """The positions of the members that have a weight; the others need not predict."""
        return {member: number for number, member in enumerate(self.members) if self.combination.weights[number]}


def predict_combination(
    blend: BlendModels, load_model: LoadModel, inputs: Mapping[Inputs, np.ndarray], workers: Workers
) -> np.ndarray:
    """Predictions (images, outputs) of a blend whose models are loaded by `load_model`."""
    outputs, images = blend.target.outputs, len(inputs["images"])
    # Members without a weight do not predict; their uniform probabilities have no effect.
    stacks = np.full((blend.folds, len(blend.members), images, outputs), 1 / outputs, dtype=np.float32)
    positions = blend.positions
    tasks = [Task(member, fold) for member in positions for fold in range(blend.folds)]
    inputs_of = {member: inputs[blend.inputs[number]] for member, number in positions.items()}
    predict = partial(_predict_fold, load_model=load_model, inputs=inputs_of, kind=blend.target.kind)
    for task, outcome in workers.run(predict, take_in_order(tasks), ignore_event):
        stacks[task.fold, positions[task.member]] = result_or_raise(task.name, outcome)
    return np.mean([blend.combination.combine(stack) for stack in stacks], axis=0)


def _predict_fold(
    task: Task, emit: Emit, load_model: LoadModel, inputs: Mapping[Member, np.ndarray], kind: TargetKind
) -> np.ndarray:
    """Runs in a worker: predict with the saved model of one fold."""
    model = load_model(task.member, task.fold)
    predict = model.predict_once if isinstance(model, CompiledPredictor) else model.predict_proba
    predictions = predict(inputs[task.member])
    return check_predictions(predictions, kind).astype(np.float32)
