"""Predict new images with a submission's blend, by the saved models."""

import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from competition.crossval.store import Store
from competition.crossval.task import Task, check_predictions
from competition.data.targets import TargetKind
from competition.ensemble.blend import BlendSearch, choose_labels, combine_models
from competition.ensemble.blenders import Combination
from competition.errors import UserError
from competition.models.interface import FEW_IMAGES, CompiledPredictor, Inputs, Predictor, Target
from competition.models.member import Member
from competition.scoring.decisions import Decision
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import repeated_groups
from competition.workers.base import Emit, TaskFunction, Workers, result_or_raise, take_in_order
from competition.workers.events import Failure, ignore_event
from competition.workers.machine import QUIET_LIBRARIES, silenced_stderr

LoadModel = Callable[[Member, int], Predictor]  # one of a member's models


def fit_combination(store: Store, members: Sequence[Member], blender: str) -> Combination:
    """The blender's combination of these members, fitted on all out-of-fold rows."""
    return _search(store, members).fit(blender)


def _search(store: Store, members: Sequence[Member], label_metric: Metric | None = None) -> BlendSearch:
    cross_validated = store.cross_validated or store
    predictions = [cross_validated.predictions(member) for member in members]
    if incomplete := [each.member for each in predictions if not each.complete]:
        submit = store.command("submit", models=" ".join(member.name for member in members))
        raise UserError(f"{incomplete[0]} is incomplete, or its code or data have changed; run `{submit}` again")
    groups = repeated_groups(store.dataset.groups)
    return BlendSearch(predictions, store.dataset.labels, cross_validated.folds.held_out, groups, label_metric)


def fit_blend(
    store: Store, members: Sequence[Member], blender: str, label_metric: Metric | None = None
) -> "BlendModels":
    """The members and the blender's combination of them; `store` has their models, of folds or of all rows.

    Labels are chosen for the metric, if any.
    """
    target = Target.of(store.dataset.labels, store.dataset.classes)
    inputs = tuple(store.trained_as(member).spec.inputs for member in members)
    search = _search(store, members, label_metric)
    combination, decision = search.fit(blender), search.fit_decision(blender)
    counts = tuple(len(store.tasks(member)) for member in members)
    return BlendModels(tuple(members), counts, target, combination, inputs, store.folds.uses_all_rows, decision)


def predict_blend(
    store: Store,
    members: Sequence[Member],
    blender: str,
    inputs: Mapping[Inputs, np.ndarray],
    workers: Workers,
    network_process: ProcessPoolExecutor | None = None,
    label_metric: Metric | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (images, outputs) of the blend by the models in the store, and what would be submitted."""
    models = fit_blend(store, members, blender, label_metric)
    store.require_image_models(list(models.positions))
    return predict_combination(models, store.load_model, inputs, workers, network_process)


@dataclass(frozen=True)
class BlendModels:
    """The members of a blend, each with several models, and how they are combined."""

    members: tuple[Member, ...]
    counts: tuple[int, ...]  # of the members' models
    target: Target
    combination: Combination
    inputs: tuple[Inputs, ...]  # what each member learns from
    uses_all_rows: bool  # whether the models were trained on all rows
    decision: Decision | None = None  # that chooses the labels, unless the most probable ones are submitted

    @property
    def positions(self) -> dict[Member, int]:
        """The positions of the members that have a weight; the others need not predict."""
        return {member: number for number, member in enumerate(self.members) if self.combination.weights[number]}


def predict_combination(
    blend: BlendModels,
    load_model: LoadModel,
    inputs: Mapping[Inputs, np.ndarray],
    workers: Workers,
    network_process: ProcessPoolExecutor | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (images, outputs) of a blend whose models are loaded by `load_model`, and what would be submitted.

    That is 1 for chosen labels if the blend has a decision, else the same predictions.

    A few images are predicted here and, if there is one, in the process for networks; others by the workers.
    """
    positions, shape = blend.positions, (len(inputs["images"]), blend.target.outputs)
    tasks = [
        Task(member, model, blend.uses_all_rows)
        for member, number in positions.items()
        for model in range(blend.counts[number])
    ]
    inputs_of = {member: inputs[blend.inputs[number]] for member, number in positions.items()}
    predictions: list[np.ndarray | None] = [
        np.empty((count, *shape), dtype=np.float32) if number in positions.values() else None
        for number, count in enumerate(blend.counts)
    ]
    predict = partial(_predict_fold, load_model=load_model, inputs=inputs_of, kind=blend.target.kind)
    outcomes: Iterable[tuple[Task, Any]]
    if len(inputs["images"]) <= FEW_IMAGES:  # starting workers would take longer
        outcomes = _run_few(predict, tasks, network_process)
    else:
        if network_process:
            network_process.shutdown(kill_workers=True)
        outcomes = workers.run(predict, take_in_order(tasks), ignore_event)
    for task, outcome in outcomes:
        models = predictions[positions[task.member]]
        assert models is not None
        models[task.fold] = result_or_raise(task.name, outcome)
    blended = combine_models(blend.combination, predictions)
    return blended, choose_labels(blend.combination, predictions, blend.decision) if blend.decision else blended


def _run_few(
    function: TaskFunction, tasks: Sequence[Task], network_process: ProcessPoolExecutor | None
) -> list[tuple[Task, Any]]:
    """Run networks in their process and other models in this one; return each task with its result or Failure."""
    networks = [task for task in tasks if task.wants_gpu]
    if not network_process or not networks:
        return _run_here(function, tasks)
    outcomes: list[tuple[Task, Any]] = []
    try:
        future = network_process.submit(_run_here, function, networks)
        outcomes = _run_here(function, [task for task in tasks if not task.wants_gpu])
        return outcomes + future.result()
    except TerminatedWorkerError:  # perhaps there was too little memory for two processes
        return outcomes + _run_here(function, networks if outcomes else tasks)


def _run_here(function: TaskFunction, tasks: Sequence[Task]) -> list[tuple[Task, Any]]:
    """Run the tasks in this process; return them with their result or Failure, as workers do."""
    os.environ.update(QUIET_LIBRARIES)
    outcomes = []
    for task in tasks:
        try:
            with silenced_stderr():
                result = function(task, ignore_event)
        except UserError:
            raise
        except Exception as error:  # each library has its own errors
            result = Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
        outcomes.append((task, result))
    return outcomes


def _predict_fold(
    task: Task, emit: Emit, load_model: LoadModel, inputs: Mapping[Member, np.ndarray], kind: TargetKind
) -> np.ndarray:
    """Predict with one saved model."""
    model = load_model(task.member, task.fold)
    predict = model.predict_once if isinstance(model, CompiledPredictor) else model.predict_proba
    predictions = predict(inputs[task.member])
    return check_predictions(predictions, kind).astype(np.float32)
