"""Recipes of popular tutorials, trained on the standard split of MNIST (60,000 training and 10,000 test rows)."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from competition.crossval.predictions import fingerprint
from competition.crossval.provenance import member_provenance
from competition.crossval.task import Task, check_predictions, train_member
from competition.data.dataset import Dataset
from competition.errors import UserError
from competition.files import write_atomically
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.models.networks.recipe import native_precision
from competition.scoring.standard_error import Score
from competition.workers.base import Emit, result_or_raise, take_in_order
from competition.workers.events import OnEvent
from competition.workers.local import LocalWorkers

COMPETITION = "mnist"


@dataclass(frozen=True)
class Tutorial:
    """A tutorial's recipe and the accuracy that it claims."""

    name: str  # of the member
    description: str
    claim: str

    @property
    def member(self) -> Member:
        """The member, in this machine's native precision; float32 is as accurate but slower."""
        member = Member.parse(self.name)
        if not member.spec.is_network:
            return member
        return replace(member, recipe=replace(member.recipe, precision=native_precision()))


TUTORIALS = (
    Tutorial("mlp", "one dense layer of 100 units, Adam", "about 98 %"),
    Tutorial("lenet:tutorial", "two convolutions, pooled, Adam", "about 99 %"),
    Tutorial("knn:pixels", "three nearest neighbours on pixels", "96.91 %"),
    Tutorial("svm:pixels", "support vector machine on pixels", "98.6 %"),
    Tutorial("vgg:tutorial", "four convolutions, augmentation, Adam", "99.6 %"),
    Tutorial("vgg:rmsprop", "the same with RMSprop", "99.671 %"),
    Tutorial("strided:author", "strided convolutions, augmentation", "99.757 %, ensemble of 15"),
)


class TutorialPredictions(NamedTuple):
    """Test probabilities of a tutorial's model."""

    test: np.ndarray  # (test rows, classes)
    seconds: float  # of training and prediction


@dataclass(frozen=True)
class Result:
    """Test accuracy of a tutorial's model, which is trained again only if its fingerprint changes."""

    fingerprint: str
    accuracy: float
    standard_error: float
    seconds: float


class Results:
    """The results so far, by member, saved as JSON."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path = path
        self.dataset = dataset
        try:
            saved = json.loads(path.read_text()) if path.exists() else {}
            self.by_member = {name: Result(**result) for name, result in saved.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete it to train all tutorials again: {shlex.join(['rm', str(path)])}"
            ) from None

    def _fingerprint(self, member: Member) -> str:
        """Digest of the data and of everything that determines the trained model."""
        return fingerprint({"data": self.dataset.digest} | member_provenance(member))

    def pending_members(self, tutorials: Sequence[Tutorial]) -> list[Member]:
        """The members without a result for their current fingerprint."""
        members = [tutorial.member for tutorial in tutorials]
        fingerprints = {name: result.fingerprint for name, result in self.by_member.items()}
        return [member for member in members if fingerprints.get(member.name) != self._fingerprint(member)]

    def save(self, member: Member, accuracy: Score, seconds: float) -> None:
        """Add a result to the file."""
        result = Result(self._fingerprint(member), accuracy.value, accuracy.standard_error, seconds)
        self.by_member[member.name] = result
        results = {name: asdict(result) for name, result in self.by_member.items()}
        write_atomically(self.path, json.dumps(results, indent=1).encode())


def train(
    members: Sequence[Member], dataset: Dataset, on_event: OnEvent, jobs: int | None = None
) -> Iterator[tuple[Member, TutorialPredictions]]:
    """Train each member on all training rows; yield its test predictions as soon as they are available."""
    tasks = [Task(member, 0) for member in sorted(members, key=lambda member: -member.spec.seconds)]
    for task, outcome in LocalWorkers(jobs).run(partial(_train, dataset=dataset), take_in_order(tasks), on_event):
        yield task.member, result_or_raise(task.member.name, outcome)


def _train(task: Task, emit: Emit, dataset: Dataset) -> TutorialPredictions:
    """Train on all training rows in a worker and predict the test rows; emit epoch, epochs and seconds."""
    start = time.perf_counter()

    def on_epoch_end(epoch: Epoch) -> None:
        emit((epoch.number, epoch.total, time.perf_counter() - start))

    model = train_member(task, dataset, np.ones(len(dataset.labels), dtype=bool), on_epoch_end)
    probabilities = check_predictions(model.predict_proba(dataset.test_images), "class")
    return TutorialPredictions(probabilities, time.perf_counter() - start)
