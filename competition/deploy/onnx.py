"""The networks of a blend as one ONNX file: scaling, views, temperatures, weights and the mean over folds inside."""

import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.crossval.store import Store
from competition.deploy.predict import fit_combination
from competition.ensemble.blenders import Combination, GeometricMean, StackedRegression, WeightedMean
from competition.errors import UserError
from competition.files import write_atomically
from competition.models.member import Member
from competition.scoring.temperature import EPSILON
from competition.workers.machine import QUIET_LIBRARIES

MAX_TEST_ROWS = 1000  # test rows on which the file is held against what made it
MAX_DIFFERENCE = 1e-4  # of probability, by which it may differ


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file and how it did on the first test rows."""

    path: Path
    networks: int
    rows: int
    difference: float  # at most, of a probability, from Keras in the same arithmetic
    other_labels: int  # than by the networks as they were trained, some in lower precision
    images_per_second: float


def export_blend(path: Path, store: Store, members: Sequence[Member], blender: str) -> OnnxExport:
    """Write the blend of those members that are networks, learned anew without the others, and try the file."""
    networks = [member for member in members if member.spec.is_network]
    if not networks:
        raise UserError("none of its members is a network, and only networks go into an ONNX file")
    os.environ.update(QUIET_LIBRARIES)
    together = BlendModel(store, networks, fit_combination(store, networks, blender))
    images = store.dataset.test_images[:MAX_TEST_ROWS]
    wanted = together.predict(images)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        made = Path(folder) / "blend.onnx"
        together.export(made)
        said, seconds = run_onnx(made, images)
        difference = float(np.abs(said - wanted).max())
        if not difference <= MAX_DIFFERENCE:
            raise UserError(f"the ONNX file would differ from its networks by {difference:.1e}, so it is not kept")
        write_atomically(path, made.read_bytes())
    by_fold = zip(*(store.predictions(member).test for member in networks), strict=True)
    trained = np.mean([together.combination.combine(np.stack(fold)[:, : len(images)]) for fold in by_fold], axis=0)
    others = int((trained.argmax(axis=1) != said.argmax(axis=1)).sum())
    return OnnxExport(path, len(networks) * store.folds.count, len(images), difference, others, len(images) / seconds)


class BlendModel:
    """All folds' networks as one Keras model, in float32: ONNX knows no convolutions of bfloat16 on CPUs."""

    def __init__(self, store: Store, members: Sequence[Member], combination: Combination) -> None:
        import keras

        self.combination = combination
        kept = [[store.load_model(member, fold) for member in members] for fold in range(store.folds.count)]
        self.folds = [[clone_in_float32(one.model) for one in fold] for fold in kept]  # type: ignore[attr-defined]
        blend = self._blended

        class Blend(keras.Model):
            def __init__(self, networks: list[Any]) -> None:
                super().__init__(name="blend")
                self.networks = networks  # so that Keras finds their weights

            def call(self, images: Any) -> Any:
                return {"probabilities": blend(images)}

        self.shape = (None, *store.dataset.images.shape[1:])
        self.model = Blend([network for fold in self.folds for network in fold])
        self.model(store.dataset.test_images[:1])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """By Keras."""
        return np.asarray(self.model(images)["probabilities"])

    def export(self, path: Path) -> None:
        """Write the file."""
        import keras

        taken = [keras.InputSpec(shape=self.shape, dtype="uint8", name="images")]
        self.model.export(path, format="onnx", verbose=False, input_signature=taken)

    def _blended(self, images: Any) -> Any:
        from keras import ops

        stacks = ([ops.softmax(network(images), axis=-1) for network in fold] for fold in self.folds)
        return ops.mean(ops.stack([combine_in_keras(self.combination, ops.stack(stack)) for stack in stacks]), axis=0)


def combine_in_keras(combination: Combination, stack: Any) -> Any:
    """What the combination makes of a stack, in the operations of Keras."""
    from keras import ops

    logs = ops.log(ops.maximum(stack, EPSILON))
    weights = ops.convert_to_tensor(np.asarray(combination.weights, np.float32))
    match combination:
        case WeightedMean(temperatures=temperatures):
            heats = ops.convert_to_tensor(np.asarray(temperatures, np.float32)[:, None, None])
            return ops.einsum("m,mrc->rc", weights, ops.softmax(logs / heats, axis=-1))
        case GeometricMean():
            return ops.softmax(ops.einsum("m,mrc->rc", weights, logs), axis=-1)
        case StackedRegression(coefficients=coefficients, intercepts=intercepts):
            mapped = ops.einsum("mrc,mcd->rd", logs, ops.convert_to_tensor(coefficients.astype(np.float32)))
            return ops.softmax(mapped + ops.convert_to_tensor(intercepts.astype(np.float32)), axis=-1)
    raise TypeError(f"{type(combination).__name__} has no form in ONNX yet")


def clone_in_float32(network: Any) -> Any:
    """The same network in float32 throughout."""
    import keras

    def in_float32(layer: Any) -> Any:
        mixed = layer.dtype_policy.name.startswith("mixed")
        return type(layer).from_config(layer.get_config() | ({"dtype": "float32"} if mixed else {}))

    twin = keras.models.clone_model(network, clone_function=in_float32, recursive=True)
    twin.set_weights(network.get_weights())
    return twin


def run_onnx(path: Path, images: np.ndarray) -> tuple[np.ndarray, float]:
    """What the file says of the images, and the seconds that it took."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(None, {"images": images[:1]})
    begun = time.perf_counter()
    (said,) = session.run(["probabilities"], {"images": images})
    return said, time.perf_counter() - begun
