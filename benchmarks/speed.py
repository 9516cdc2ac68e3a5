"""Training speed of each network, relative to this machine's speed of matrix products."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from competition.data.dataset import Dataset
from competition.models.member import Member
from competition.models.registry import available_models
from competition.workers.base import Emit, result_or_raise, take_in_order
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

if TYPE_CHECKING:
    import keras

BATCHES_PER_EPOCH = 10
EPOCHS = 6  # the first also traces the graph and is not timed


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


def available_networks() -> list[Member]:
    """The models that are networks."""
    members = [Member.parse(name) for name in available_models()]
    return [member for member in members if member.spec.is_network]


def measure_speeds(members: Sequence[Member], dataset: Dataset, peaks: dict[str, float]) -> Iterator[Speed]:
    """Measure the training speed of each network with one worker, then with one per core."""
    for member in members:
        for workers in sorted({1, LocalWorkers().jobs}):
            function = partial(_train, member=member, dataset=dataset)
            outcomes = LocalWorkers(workers).run(function, take_in_order(range(workers)), ignore_event)
            results = [result_or_raise(member.name, outcome) for _, outcome in outcomes]
            parameters, operations, _ = results[0]
            images_per_second = sum(rate for _, _, rate in results)
            gflops = images_per_second * operations * 6 / 1e9
            share = gflops / workers / peaks[member.recipe.precision]
            yield Speed(member.name, workers, parameters, operations, images_per_second, gflops, share)


def count_multiply_adds(model: "keras.Model") -> int:
    """Multiply-adds of the convolutions and dense layers for one image."""
    kernels = [(layer.kernel.shape, layer.output.shape) for layer in model.layers if hasattr(layer, "kernel")]
    return sum(int(np.prod(kernel)) * int(np.prod(output[1:-1])) for kernel, output in kernels)


def _train(worker: int, emit: Emit, member: Member, dataset: Dataset) -> tuple[int, int, float]:
    """Train in a worker; return parameters, multiply-adds and images per second."""
    rows = BATCHES_PER_EPOCH * member.recipe.batch_size
    images, labels = (np.resize(array[:rows], (rows, *array.shape[1:])) for array in (dataset.images, dataset.labels))
    recipe = replace(member.recipe, epochs=EPOCHS, min_steps=0)
    network: Any = member.spec.build(recipe, worker, images.shape[1:], len(dataset.classes))
    epoch_ends: list[float] = []
    network.fit(images, labels, lambda epoch: epoch_ends.append(time.perf_counter()))
    epoch_seconds = float(np.median(np.diff(epoch_ends)))
    return network.network.count_params(), count_multiply_adds(network.network), rows / epoch_seconds
