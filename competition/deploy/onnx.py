"""Export the networks of a blend as one ONNX file, including scaling, temperatures, weights and the mean over models.

A logistic regression on the features of a pretrained network is exported with that network, which takes the images at
its own size as a second input. Other models of scikit-learn have no form in Keras, of which the file is made.
"""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logit
from sklearn.pipeline import Pipeline

from competition.crossval.store import Store
from competition.data.targets import target_kind
from competition.deploy.predict import fit_blend, fit_combination
from competition.ensemble.blend import combine_models
from competition.ensemble.blenders import Combination, LogLinear, PerLabel, WeightedMean
from competition.errors import UserError, command, runs_under_make
from competition.files import scratch_folder, write_atomically
from competition.models.classical.spec import LabelClassifiers
from competition.models.member import Member
from competition.models.pretrained.extractor import Extractor, build_keras_network
from competition.scoring.metrics import one_hot
from competition.scoring.temperature import EPSILON
from competition.workers.machine import QUIET_LIBRARIES

MAX_TEST_ROWS = 1000  # test rows on which the file is compared with the networks
MAX_PICTURES = 64  # test rows, if a pretrained network is part of them
BATCH_SIZE = 16  # bounds the memory
MAX_DIFFERENCE = 1e-4  # of a probability
LINEAR_MODEL = "features-linear"
MISSING_LOGIT = -100.0  # of a class without training rows


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file and its comparison with the networks on the first test rows."""

    path: Path
    networks: int
    rows: int
    difference: float  # largest difference of a probability from Keras in float32
    changed_labels: int  # rows with another predicted label than by the networks as trained, some in lower precision
    images_per_second: float
    inputs: dict[str, tuple[int, ...]]  # height, width and channels
    left_out: tuple[str, ...]  # members


@dataclass(frozen=True)
class Pretrained:
    """A pretrained network, and the test images at its size, of which the first are compared."""

    extractor: Extractor
    pictures: np.ndarray


def is_exported(member: Member, pretrained: Pretrained | None) -> bool:
    """Whether a member can be exported; of an imported one, what it was elsewhere."""
    has_network = pretrained is not None and pretrained.extractor.kind != "onnx"
    return member.spec.is_network or (member.model == LINEAR_MODEL and has_network)


def export_blend(
    path: Path, store: Store, members: Sequence[Member], blender: str, pretrained: Pretrained | None = None
) -> OnnxExport:
    """Fit the blender on those members that can be exported, and write their blend to an ONNX file."""
    networks = [member for member in members if is_exported(store.trained_as(member), pretrained)]
    if networks and store.folds.uses_all_rows:  # where members without a weight are not trained
        weighted = fit_blend(store, members, blender).positions
        networks = [member for member in networks if member in weighted]
    if not networks:
        raise UserError(
            "no member of the submission is a network; only networks, and features-linear with a pretrained network of "
            "Keras, can be exported to ONNX"
        )
    if not any(store.trained_as(member).uses_features for member in networks):
        pretrained = None
    if target_kind(store.dataset.labels) == "number":
        raise UserError(f"regression blends cannot be exported to ONNX; use `{_predict_command(store)}`")
    os.environ.update(QUIET_LIBRARIES)
    combination = fit_combination(store, networks, blender)
    model = build_model(store, networks, combination, pretrained.extractor if pretrained else None)
    inputs = {"images": store.dataset.test_images[: MAX_PICTURES if pretrained else MAX_TEST_ROWS]}
    if pretrained:
        inputs["pictures"] = pretrained.pictures[:MAX_PICTURES]
    inputs = {tensor.name: np.asarray(inputs[tensor.name]) for tensor in model.inputs}
    rows = len(next(iter(inputs.values())))
    batch_size = BATCH_SIZE if pretrained else rows
    expected = model.predict(inputs, batch_size, verbose=0)["probabilities"]
    with scratch_folder() as folder, warnings.catch_warnings(action="ignore"):
        file = folder / "blend.onnx"
        model.export(file, format="onnx", verbose=False)
        probabilities, seconds = run_onnx(file, inputs, batch_size)
        difference = float(np.abs(probabilities - expected).max())
        if not difference <= MAX_DIFFERENCE:
            reason = f"the ONNX file's probabilities differ from Keras by {difference:.1e}"
            raise UserError(
                f"not exported: {reason}; upgrade tf2onnx and onnxruntime, or use `{_predict_command(store)}`"
            )
        write_atomically(path, file.read_bytes())
    trained = combine_models(combination, [store.predictions(member).test[:, :rows] for member in networks])
    decisions = (one_hot(store.dataset.labels, each)[1] for each in (trained, probabilities))
    changed_labels = int(np.not_equal(*decisions).any(axis=1).sum())
    count = sum(len(store.tasks(member)) for member in networks)
    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    left_out = tuple(member.name for member in members if member not in networks)
    return OnnxExport(path, count, rows, difference, changed_labels, rows / seconds, shapes, left_out)


def _predict_command(store: Store) -> str:
    """How the user predicts images without the file."""
    return command("predict", competition=store.folder.name) + (" FILES=..." if runs_under_make() else " FILE ...")


def build_model(
    store: Store, members: Sequence[Member], combination: Combination, extractor: Extractor | None = None
) -> Any:
    """All networks of the store and their blend as one Keras model in float32: ONNX has no bfloat16 on CPUs."""
    import keras
    from keras import ops

    is_multilabel = target_kind(store.dataset.labels) == "labels"
    to_probabilities = ops.sigmoid if is_multilabel else partial(ops.softmax, axis=-1)
    images = keras.Input(store.dataset.images.shape[1:], dtype="uint8", name="images")
    inputs = [images] if any(store.trained_as(member).spec.is_network for member in members) else []
    views: list[Any] = []
    if extractor:
        pictures = keras.Input((extractor.size, extractor.size, 3), dtype="uint8", name="pictures")
        pretrained = build_keras_network(replace(extractor, precision="float32"))
        pretrained.name = "pretrained"
        views = [pretrained(pictures), pretrained(pictures[:, :, ::-1])]
        inputs.append(pictures)
    blends = []
    for fold in range(max(len(store.tasks(member)) for member in members)):
        logits = []
        for number, member in enumerate(members):
            model: Any = store.load_model(member, fold % len(store.tasks(member)))
            if store.trained_as(member).uses_features:
                logits.append(_apply_linear(model.pipeline, views, len(store.dataset.classes)))
                continue
            network = clone_in_float32(model.all_views)
            network.name = f"network_{fold}_{number}"  # Keras requires unique names
            logits.append(network(images))
        stack = ops.stack([to_probabilities(each) for each in logits])
        blends.append(combine_in_keras(combination, stack))
    return keras.Model(inputs, {"probabilities": ops.mean(ops.stack(blends), axis=0)}, name="blend")


def _apply_linear(pipeline: Pipeline, views: Sequence[Any], outputs: int) -> Any:
    """The logits of `features-linear`, given the features of the views."""
    from keras import ops

    mean_of_views, scaler, classifier = (step for _, step in pipeline.steps)
    mean = ops.mean(ops.stack(views[: mean_of_views.views_]), axis=0)
    roots = ops.sign(mean) * ops.sqrt(ops.abs(mean))
    coefficients, intercepts = _linear_weights(classifier, scaler.n_features_in_, outputs)
    coefficients = coefficients / scaler.scale_[:, None]
    intercepts = intercepts - scaler.mean_ @ coefficients
    return ops.matmul(roots, coefficients.astype(np.float32)) + intercepts.astype(np.float32)


def _linear_weights(classifier: Any, features: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (features, outputs) and intercepts of the logits of classes or labels."""
    coefficients, intercepts = np.zeros((features, outputs)), np.full(outputs, MISSING_LOGIT)
    if isinstance(classifier, LabelClassifiers):
        intercepts = logit(classifier.frequencies_)
        for label, binary in classifier.classifiers_.items():
            coefficients[:, label], intercepts[label] = binary.regression_.coef_[0], binary.regression_.intercept_[0]
        return coefficients, intercepts
    regression, classes = classifier.regression_, classifier.classes_
    if len(classes) == 2:
        coefficients[:, classes[1]] = regression.coef_[0]
        intercepts[classes] = 0, regression.intercept_[0]
    else:
        coefficients[:, classes], intercepts[classes] = regression.coef_.T, regression.intercept_
    return coefficients, intercepts


def combine_in_keras(combination: Combination, stack: Any) -> Any:
    """`combination.combine(stack)`, in Keras operations."""
    from keras import ops

    logs = ops.log(ops.maximum(stack, EPSILON))
    # As NumPy arrays these become constants of the ONNX file; tensors would become inputs.
    weights = np.asarray(combination.weights, np.float32)
    match combination:
        case WeightedMean(temperatures=temperatures):
            divisors = np.asarray(temperatures, np.float32)[:, None, None]
            return ops.einsum("m,mrc->rc", weights, ops.softmax(logs / divisors, axis=-1))
        case LogLinear(exponents=exponents):
            return ops.softmax(ops.einsum("m,mrc->rc", np.asarray(exponents, np.float32), logs), axis=-1)
        case PerLabel(binary=binary):
            present = ops.reshape(stack, (len(weights), -1))
            cells = combine_in_keras(binary, ops.stack([1 - present, present], axis=-1))
            return ops.reshape(cells[:, 1], (-1, stack.shape[2]))
    raise TypeError(f"{type(combination).__name__} cannot be exported to ONNX")


def clone_in_float32(network: Any) -> Any:
    """A copy of the network in float32 throughout."""
    import keras

    def in_float32(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):  # an operation, such as those of inverting and deskewing
            return layer
        is_mixed = layer.dtype_policy.name.startswith("mixed")
        return type(layer).from_config(layer.get_config() | ({"dtype": "float32"} if is_mixed else {}))

    clone = keras.models.clone_model(network, clone_function=in_float32, recursive=True)
    clone.set_weights(network.get_weights())
    return clone


def run_onnx(path: Path, inputs: dict[str, np.ndarray], batch_size: int) -> tuple[np.ndarray, float]:
    """The file's predictions, and the seconds that they took."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, {name: array[:1] for name, array in inputs.items()})
    start = time.perf_counter()
    rows = len(next(iter(inputs.values())))
    batches = [
        session.run(["probabilities"], {name: array[first : first + batch_size] for name, array in inputs.items()})[0]
        for first in range(0, rows, batch_size)
    ]
    return np.concatenate(batches), time.perf_counter() - start
