"""How batches reach a network in training: copied to it step by step or, on a GPU, from the GPU's own memory.

A small network trains faster than the driver of a GPU can copy its batches and start its operations one by one. There
the images stay in the GPU's memory, XLA compiles a step, and several steps run per call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers, ops

from competition.models.gpus import trains_on_gpu
from competition.models.interface import Images

STEPS_PER_CALL = 32
MAX_DEVICE_BYTES = 2e9  # of the images in the GPU's memory; more of them are copied step by step
DEVICE_DTYPE = "float16"  # represents all bytes exactly; TensorFlow keeps no variables of bytes on GPUs

Compile = Callable[..., None]  # (model, learning rate, further options of `Model.compile`)


@dataclass(frozen=True)
class TrainingRows:
    """The rows to train on, and how they are divided into steps."""

    images: Images
    targets: np.ndarray
    batch_size: int
    rates: Sequence[float]  # the learning rate of each step of the training

    @property
    def steps_per_epoch(self) -> int:
        """The number of whole batches; other rows follow in each epoch."""
        return len(self.images) // self.batch_size

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return len(self.rates) // self.steps_per_epoch


class Trainer(Protocol):
    """Trains a network for one epoch at a time."""

    model: keras.Model

    def train_epoch(self, epoch: int, order: np.ndarray) -> float:
        """Train on the rows in this order; return the mean loss. The first epoch is 0."""


def create_trainer(forward: Callable[[Any], Any], rows: TrainingRows, compile_model: Compile) -> Trainer:
    """The trainer for this device; `forward` maps a tensor of images to the network's outputs."""
    size = np.prod(rows.images.shape, dtype=float) * np.dtype(DEVICE_DTYPE).itemsize
    if trains_on_gpu() and size <= MAX_DEVICE_BYTES:
        return DeviceTrainer(forward, rows, compile_model)
    return HostTrainer(forward, rows, compile_model)


def state_variables(model: keras.Model) -> list[keras.Variable]:
    """Return all variables that training changes, except metrics, which do not affect it."""
    images = {id(layer.images) for layer in model.layers if isinstance(layer, _ImagesOnDevice)}
    return [variable for variable in (*model.variables, *model.optimizer.variables) if id(variable) not in images]


class HostTrainer:
    """Copies each batch from the main memory.

    It passes single batches to Keras instead of calling `fit`: with TensorFlow 2.21, each epoch of `fit` waited up to
    5 s for a background thread on one core.
    """

    def __init__(self, forward: Callable[[Any], Any], rows: TrainingRows, compile_model: Compile) -> None:
        images = keras.Input(rows.images.shape[1:], dtype="uint8")
        self.rows = rows
        self.model = keras.Model(images, forward(images))
        is_compiled = keras.backend.backend() == "jax"  # on CPUs, XLA is slower than TensorFlow's own kernels
        compile_model(self.model, rows.rates[0], jit_compile=is_compiled)

    def train_epoch(self, epoch: int, order: np.ndarray) -> float:
        """Train on the rows in this order; return the mean loss. The first epoch is 0."""
        images, targets, size = self.rows.images, self.rows.targets, self.rows.batch_size
        steps = self.rows.steps_per_epoch
        losses = []
        for step in range(steps):
            rows = order[step * size : (step + 1) * size]
            self.model.optimizer.learning_rate = self.rows.rates[epoch * steps + step]
            self.model.reset_metrics()  # before Keras 3.15, the loss would be a mean over earlier batches, too
            losses.append(self.model.train_on_batch(images[rows], targets[rows]))
        return float(np.mean(losses))


class DeviceTrainer:
    """Keeps the images in the memory of the device, and runs several steps per call."""

    def __init__(self, forward: Callable[[Any], Any], rows: TrainingRows, compile_model: Compile) -> None:
        numbers = keras.Input((), dtype="int32")
        self.rows = rows
        self.model = keras.Model(numbers, forward(_ImagesOnDevice(rows.images)(numbers)))
        steps = min(STEPS_PER_CALL, rows.steps_per_epoch)
        compile_model(self.model, _RatePerStep(rows.rates), jit_compile=True, steps_per_execution=steps)

    def train_epoch(self, epoch: int, order: np.ndarray) -> float:
        """Train on the rows in this order; return the mean loss. The first epoch is 0."""
        size = self.rows.batch_size
        numbers = order[: size * self.rows.steps_per_epoch].astype(np.int32)
        history = self.model.fit(numbers, self.rows.targets[numbers], size, shuffle=False, verbose=0)
        return float(history.history["loss"][0])


class _ImagesOnDevice(layers.Layer):
    """Images by their row numbers."""

    def __init__(self, images: Images) -> None:
        super().__init__(trainable=False, dtype="float32")
        self.images = self.add_weight(images.shape, "zeros", DEVICE_DTYPE, trainable=False, autocast=False)
        self.images.assign(np.asarray(images).astype(DEVICE_DTYPE))

    def call(self, numbers: Any) -> Any:
        """The images (rows, height, width, channels) with these numbers."""
        return ops.cast(ops.take(self.images, numbers, axis=0), "uint8")


class _RatePerStep(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step."""

    def __init__(self, rates: Sequence[float]) -> None:
        self.rates = np.asarray(rates, np.float32)

    def __call__(self, step: Any) -> Any:
        return ops.take(self.rates, ops.cast(step, "int32"))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"rates": self.rates.tolist()}
