"""What tutorials teach, each recipe as it is taught, on the digits' standard 60,000 and 10,000 rows."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.crossval.provenance import fingerprint, ingredients_of
from competition.crossval.task import Task, checked, trained
from competition.data.dataset import Dataset
from competition.errors import Problem
from competition.files import write_whole
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.models.networks.recipe import native_precision
from competition.workers.base import Say, in_turn, succeeded
from competition.workers.local import LocalWorkers

COMPETITION = "mnist"


@dataclass(frozen=True)
class Preset:
    """A recipe and what is said of it."""

    name: str
    taught: str
    claimed: str

    @property
    def member(self) -> Member:
        """Who learns by it, in this machine's precision: in float32 networks err as often and take longer."""
        member = Member.named(self.name)
        if not member.spec.is_network:
            return member
        return replace(member, recipe=replace(member.recipe, precision=native_precision()))


PRESETS = (
    Preset("mlp", "one dense layer of 100 units, Adam", "about 98 %"),
    Preset("lenet:tutorial", "two convolutions, pooled, Adam", "about 99 %"),
    Preset("knn:pixels", "three nearest neighbours among the pixels", "96.91 %"),
    Preset("svm:pixels", "support vectors among the pixels", "98.6 %"),
    Preset("vgg:tutorial", "four convolutions, changed images, Adam", "99.6 %"),
    Preset("vgg:rmsprop", "the same by RMSprop", "99.671 %"),
    Preset("strided:author", "convolutions that stride, changed images", "99.757 %, fifteen of them"),
)


class Trained(NamedTuple):
    """What a preset says of the test rows, and after how long."""

    test: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Result:
    """How a preset did; it is not trained again as long as it is made of the same."""

    made_of: str
    accuracy: float
    standard_error: float
    seconds: float


class Results:
    """What is known so far, in a file."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path = path
        self.dataset = dataset
        try:
            known = json.loads(path.read_text()) if path.exists() else {}
            self.known = {name: Result(**result) for name, result in known.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise Problem(f"{path} is damaged ({error}); have all trained again: rm {path}") from None

    def made_of(self, member: Member) -> str:
        """What decides how the preset does."""
        return fingerprint({"data": self.dataset.digest} | ingredients_of(member))

    def waiting(self, presets: Sequence[Preset]) -> list[Member]:
        """Those that were not trained as they are now."""
        members = [preset.member for preset in presets]
        known = {name: result.made_of for name, result in self.known.items()}
        return [member for member in members if known.get(member.name) != self.made_of(member)]

    def keep(self, member: Member, accuracy: float, standard_error: float, seconds: float) -> None:
        """Write down how a preset did."""
        self.known[member.name] = Result(self.made_of(member), accuracy, standard_error, seconds)
        write_whole(self.path, json.dumps({name: asdict(one) for name, one in self.known.items()}, indent=1).encode())


def train(
    members: Sequence[Member], dataset: Dataset, hear: Say, jobs: int | None = None
) -> Iterator[tuple[Member, Trained]]:
    """Each member with what it says of the test rows, taught by all rows, whoever is first."""
    tasks = [Task(member, 0) for member in sorted(members, key=lambda one: -one.spec.seconds)]
    for task, outcome in LocalWorkers(jobs).run(partial(_train, dataset=dataset), in_turn(tasks), hear):
        yield task.member, succeeded(task.member.name, outcome)


def _train(task: Task, say: Say, dataset: Dataset) -> Trained:
    """In a worker: train on all rows, and ask of the test rows."""
    since = time.perf_counter()

    def look(epoch: Epoch) -> None:
        say("epoch", (epoch.done, epoch.of, time.perf_counter() - since))

    model = trained(task, dataset, np.ones(len(dataset.labels), dtype=bool), look)
    return Trained(checked(model.predict_proba(dataset.test_images)), time.perf_counter() - since)
