"""Training speed of each network, relative to this machine's speed of matrix products."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from competition.data.dataset import Dataset
from competition.models.interface import Target
from competition.models.member import Member
from competition.models.registry import available_models
from competition.workers.base import Emit, result_or_raise, take_in_order
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

if TYPE_CHECKING:
    import keras

BATCHES_PER_EPOCH = 10
EPOCHS = 6  # the first also traces the graph and is not timed
REPETITIONS = 15


@dataclass(frozen=True)
class Speed:
    """Total speed of one or more workers, including everything that belongs to a training step."""

    network: str
    workers: int
    parameters: int
    multiply_adds: int  # forward pass of one image; training takes three times as many
    images_per_second: float
    gflops: float
    share_of_peak: float  # of the matrix product in the network's precision
    convolution_share: float  # of a step's time


def available_networks() -> list[Member]:
    """The models that are networks, except those that start from pretrained weights, which would be downloaded."""
    members = [Member.parse(name) for name in available_models()]
    return [member for member in members if member.spec.is_network and not member.spec.is_fine_tuned]


def measure_speeds(members: Sequence[Member], dataset: Dataset, peaks: dict[str, float]) -> Iterator[Speed]:
    """Measure the training speed of each network with one worker, then with one per core."""
    for member in members:
        for workers in sorted({1, LocalWorkers().jobs}):
            function = partial(_train, member=member, dataset=dataset)
            outcomes = LocalWorkers(workers).run(function, take_in_order(range(workers)), ignore_event)
            results = [result_or_raise(member.name, outcome) for _, outcome in outcomes]
            parameters, operations, *_ = results[0]
            images_per_second = sum(rate for *_, rate in results)
            gflops = images_per_second * operations * 6 / 1e9
            share = gflops / workers / peaks[member.recipe.precision]
            convolutions = float(
                np.mean([seconds * rate / member.recipe.batch_size for _, _, seconds, rate in results])
            )
            yield Speed(member.name, workers, parameters, operations, images_per_second, gflops, share, convolutions)


def count_multiply_adds(model: "keras.Model") -> int:
    """Multiply-adds of the convolutions and dense layers for one image."""
    kernels = [(layer.kernel.shape, layer.output.shape) for layer in model.layers if hasattr(layer, "kernel")]
    return sum(int(np.prod(kernel)) * int(np.prod(output[1:-1])) for kernel, output in kernels)


def convolution_seconds(model: "keras.Model", batch_size: int) -> float:
    """Time of the convolutions and their gradients in one training step, measured alone; NaN without TensorFlow."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return float("nan")
    import tensorflow

    seconds, convolutions = 0.0, [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer in convolutions:
        inputs, upstream = (
            tensorflow.cast(tensorflow.random.uniform((batch_size, *tensor.shape[1:]), seed=0), layer.compute_dtype)
            for tensor in (layer.input, layer.output)
        )

        @tensorflow.function
        def step(inputs: Any, upstream: Any, layer: Any = layer) -> Any:
            with tensorflow.GradientTape() as tape:
                if layer is not convolutions[0]:  # the gradient of the images is not needed
                    tape.watch(inputs)
                outputs = layer(inputs)
            return outputs, tape.gradient(outputs, [layer.kernel.value, inputs], upstream)

        times = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            step(inputs, upstream)
            times.append(time.perf_counter() - start)
        seconds += float(np.median(times))
    return seconds


def _train(worker: int, emit: Emit, member: Member, dataset: Dataset) -> tuple[int, int, float, float]:
    """Train in a worker; return parameters, multiply-adds, seconds of convolutions in a step, images per second."""
    rows = BATCHES_PER_EPOCH * member.recipe.batch_size
    images, labels = (np.resize(array[:rows], (rows, *array.shape[1:])) for array in (dataset.images, dataset.labels))
    recipe = replace(member.recipe, epochs=EPOCHS, min_steps=0)
    network: Any = member.spec.build(recipe, worker, images.shape[1:], Target.of(dataset.labels, dataset.classes))
    epoch_ends: list[float] = []
    network.fit(images, labels, lambda epoch: epoch_ends.append(time.perf_counter()))
    epoch_seconds = float(np.median(np.diff(epoch_ends)))
    model, rate = network.network, rows / epoch_seconds
    convolutions = convolution_seconds(model, recipe.batch_size)
    return model.count_params(), count_multiply_adds(model), convolutions, rate
