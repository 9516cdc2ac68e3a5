"""How fast this machine trains each network, against how fast it multiplies matrices."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from competition.checks.machine_speed import ignore
from competition.data.dataset import Dataset
from competition.models import registry as models
from competition.models.member import Member
from competition.workers.base import Say, in_turn, succeeded
from competition.workers.local import LocalWorkers

if TYPE_CHECKING:
    import keras

BATCHES = 10  # in an epoch that is timed
EPOCHS = 6  # the first, which also traces the graph, does not count


@dataclass(frozen=True)
class Speed:
    """What one or more workers do together, with all that belongs to a training step."""

    network: str
    workers: int
    parameters: int
    multiply_adds: int  # of one image on its way to the logits; training takes three times as many
    images_per_second: float
    gflops: float
    share_of_peak: float  # of the matrix product in the network's own precision


def networks() -> list[Member]:
    """Every model of the zoo that is a network."""
    members = [Member.named(name) for name in models.available()]
    return [member for member in members if member.spec.is_network]


def speeds(members: Sequence[Member], dataset: Dataset, peaks: dict[str, float]) -> Iterator[Speed]:
    """The training speed of each network with one worker, then with one for each core."""
    for member in members:
        for workers in sorted({1, LocalWorkers().jobs}):
            work = partial(_train, member=member, dataset=dataset)
            outcomes = LocalWorkers(workers).run(work, in_turn(range(workers)), ignore)
            found = [succeeded(member.name, outcome) for _, outcome in outcomes]
            parameters, operations, _ = found[0]
            together = sum(images for _, _, images in found)
            gflops = together * operations * 6 / 1e9
            share = gflops / workers / peaks[member.recipe.precision]
            yield Speed(member.name, workers, parameters, operations, together, gflops, share)


def multiply_adds(model: "keras.Model") -> int:
    """Of one image on its way through the convolutions and dense layers."""
    kernels = [(layer.kernel.shape, layer.output.shape) for layer in model.layers if hasattr(layer, "kernel")]
    return sum(int(np.prod(kernel)) * int(np.prod(output[1:-1])) for kernel, output in kernels)


def _train(worker: int, say: Say, member: Member, dataset: Dataset) -> tuple[int, int, float]:
    """In a worker: parameters, multiply-adds, images a second."""
    rows = BATCHES * member.recipe.batch
    images, labels = (np.resize(array[:rows], (rows, *array.shape[1:])) for array in (dataset.images, dataset.labels))
    recipe = replace(member.recipe, epochs=EPOCHS, least_steps=0)
    network: Any = member.spec.build(recipe, worker, images.shape[1:], len(dataset.classes))
    ends: list[float] = []
    network.fit(images, labels, lambda epoch: ends.append(time.perf_counter()))
    return network.core.count_params(), multiply_adds(network.core), rows / float(np.median(np.diff(ends)))
