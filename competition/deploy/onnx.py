"""Export the networks of a blend as one ONNX file, including scaling, temperatures, weights and the mean over folds."""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from competition.crossval.store import Store
from competition.data.targets import TargetKind, target_kind
from competition.deploy.predict import fit_combination
from competition.ensemble.blenders import Combination, GeometricMean, PerLabel, StackedRegression, WeightedMean
from competition.errors import UserError, command
from competition.files import scratch_folder, write_atomically
from competition.models.member import Member
from competition.scoring.multilabel import select_labels
from competition.scoring.temperature import EPSILON
from competition.workers.machine import QUIET_LIBRARIES

MAX_TEST_ROWS = 1000  # test rows on which the file is compared with the networks
MAX_DIFFERENCE = 1e-4  # of a probability


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file and its comparison with the networks on the first test rows."""

    path: Path
    networks: int
    rows: int
    difference: float  # largest difference of a probability from Keras in float32
    other_labels: int  # rows with another label than by the networks as trained, some in lower precision
    images_per_second: float


def export_blend(path: Path, store: Store, members: Sequence[Member], blender: str) -> OnnxExport:
    """Fit the blender on those members that are networks, and write their blend to an ONNX file."""
    networks = [member for member in members if member.spec.is_network]
    if not networks:
        raise UserError("no member of the submission is a network; only networks can be exported to ONNX")
    if (kind := target_kind(store.dataset.labels)) == "number":
        raise UserError(f"blends of numbers cannot be exported to ONNX; use `{command('predict')}`")
    os.environ.update(QUIET_LIBRARIES)
    combination = fit_combination(store, networks, blender)
    model = build_model(store, networks, combination)
    images = store.dataset.test_images[:MAX_TEST_ROWS]
    expected = np.asarray(model(images)["probabilities"])
    with scratch_folder() as folder, warnings.catch_warnings(action="ignore"):
        file = folder / "blend.onnx"
        model.export(file, format="onnx", verbose=False)
        probabilities, seconds = run_onnx(file, images)
        difference = float(np.abs(probabilities - expected).max())
        if not difference <= MAX_DIFFERENCE:
            reason = f"the ONNX file's probabilities differ from Keras by {difference:.1e}"
            raise UserError(f"not exported: {reason}; upgrade tf2onnx and onnxruntime, or use `{command('predict')}`")
        write_atomically(path, file.read_bytes())
    by_fold = zip(*(store.predictions(member).test for member in networks), strict=True)
    trained = np.mean([combination.combine(np.stack(fold)[:, : len(images)]) for fold in by_fold], axis=0)
    other_labels = int((_decide(trained, kind) != _decide(probabilities, kind)).any(axis=1).sum())
    count = len(networks) * store.folds.count
    return OnnxExport(path, count, len(images), difference, other_labels, len(images) / seconds)


def _decide(probabilities: np.ndarray, kind: TargetKind) -> np.ndarray:
    """The predicted class or labels of each row, as booleans (rows, outputs)."""
    if kind == "labels":
        return select_labels(probabilities, allow_empty=True)
    return probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])


def build_model(store: Store, members: Sequence[Member], combination: Combination) -> Any:
    """The networks of all folds and their blend as one Keras model in float32: ONNX has no bfloat16 on CPUs."""
    import keras
    from keras import ops

    is_multilabel = target_kind(store.dataset.labels) == "labels"
    to_probabilities = ops.sigmoid if is_multilabel else partial(ops.softmax, axis=-1)
    images = keras.Input(store.dataset.images.shape[1:], dtype="uint8", name="images")
    blends = []
    for fold in range(store.folds.count):
        networks = [clone_in_float32(store.load_model(member, fold).all_views) for member in members]  # type: ignore[attr-defined]
        for number, network in enumerate(networks):
            network.name = f"network_{fold}_{number}"  # Keras requires unique names
        stack = ops.stack([to_probabilities(network(images)) for network in networks])
        blends.append(combine_in_keras(combination, stack))
    return keras.Model(images, {"probabilities": ops.mean(ops.stack(blends), axis=0)}, name="blend")


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
        case GeometricMean():
            return ops.softmax(ops.einsum("m,mrc->rc", weights, logs), axis=-1)
        case StackedRegression(coefficients=coefficients, intercepts=intercepts):
            logits = ops.einsum("mrc,mcd->rd", logs, coefficients.astype(np.float32))
            return ops.softmax(logits + intercepts.astype(np.float32), axis=-1)
        case PerLabel(binary=binary):
            present = ops.reshape(stack, (len(weights), -1))
            cells = combine_in_keras(binary, ops.stack([1 - present, present], axis=-1))
            return ops.reshape(cells[:, 1], (-1, stack.shape[2]))
    raise TypeError(f"{type(combination).__name__} cannot be exported to ONNX")


def clone_in_float32(network: Any) -> Any:
    """A copy of the network in float32 throughout."""
    import keras

    def in_float32(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):  # an operation, such as those of deskewing
            return layer
        is_mixed = layer.dtype_policy.name.startswith("mixed")
        return type(layer).from_config(layer.get_config() | ({"dtype": "float32"} if is_mixed else {}))

    clone = keras.models.clone_model(network, clone_function=in_float32, recursive=True)
    clone.set_weights(network.get_weights())
    return clone


def run_onnx(path: Path, images: np.ndarray) -> tuple[np.ndarray, float]:
    """The file's predictions, and the seconds that they took."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, {"images": images[:1]})
    start = time.perf_counter()
    (probabilities,) = session.run(["probabilities"], {"images": images})
    return probabilities, time.perf_counter() - start
