"""What commands share: the data, the store and a run of cross-validation, as the options ask for them."""

import argparse
import math
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.errors import Problem

if TYPE_CHECKING:
    from competition.crossval.predictions import Predictions
    from competition.crossval.store import Store
    from competition.crossval.task import Task
    from competition.data.config import Rules
    from competition.data.dataset import Dataset
    from competition.models.member import Member
    from competition.scoring.metrics import Metric
    from competition.submission.format import Sample
    from competition.submission.log import Entry, Origin
    from competition.workers.base import Workers

DATA, FOLDS, SUBMISSIONS = Path("data"), Path("folds"), Path("submissions")
USUAL = ("knn", "svm", "quick", "plain")  # who is trained where nobody is named
LEAST_ROWS = 3  # of each class, to train a classical model on: it learns from thirds how sure to be of itself


def open_dataset(options: argparse.Namespace) -> "Dataset":
    """The competition's rows, its files brought first if need be."""
    from competition.data.dataset import load
    from competition.data.sources import ensure

    folder = DATA / options.competition
    if not folder.exists():
        print(f"bringing the files of {options.competition} into {folder} ...", flush=True)
    ensure(options.competition, folder)
    dataset = load(folder)
    if getattr(options, "models", ()) is None:
        options.models = _usual(dataset)
    return dataset


def _usual(dataset: "Dataset") -> list[str]:
    """Who is trained where nobody is named: all but those that would hold too many rows."""
    from competition.models.member import Member
    from competition.workers.machine import MEMORY

    rows, shape = len(dataset.labels), dataset.images.shape[1:]
    needed = {name: Member.named(name).memory(rows, shape) for name in USUAL}
    too_large = [name for name, size in needed.items() if size > MEMORY]
    if too_large:
        told = f"of {rows:,} images would take {max(needed.values()) / 1e9:.1f} GB for each worker"
        print(f"{' and '.join(too_large)} {told} and are left out, unless you name them in MODELS", flush=True)
    return [name for name in USUAL if name not in too_large]


def open_store(options: argparse.Namespace) -> "Store":
    """The place of the split's predictions."""
    from competition.crossval.folds import frozen
    from competition.crossval.store import Store

    dataset = open_dataset(options)
    folder = FOLDS / options.competition
    return Store(folder, dataset, frozen(dataset, folder, options.folds, options.seed))


def open_split(options: argparse.Namespace, name: str) -> "Store":
    """The place of a split's predictions, by the split's name."""
    options.folds, options.seed = (int(part) for part in name.split("-folds-seed-"))
    return open_store(options)


def open_submission(options: argparse.Namespace) -> "tuple[Entry, Store, list[Member]]":
    """A submission, the place of its split's predictions, and its members, if they are what they were."""
    from competition.submission.log import Ledger

    entry = Ledger(SUBMISSIONS).entry(options.competition, options.number)
    origin = entry.card["origin"]
    store = open_split(options, origin["split"])
    members = [member_of(options, name) for name in entry.card["members"]]
    for member in members:
        if store.fingerprint(member) != origin["members"][member.name]:
            raise Problem(
                f"{entry.folder} was made when {member.name} was another; take NUMBER= of a later submission, run "
                f"`make submit`, or go back: git checkout {entry.commit}"
            )
    return entry, store, members


def sample_of(options: argparse.Namespace, metric: "Metric") -> "Sample":
    """What the competition asks for."""
    from competition.submission.format import asked

    return asked(DATA / options.competition, metric)


def rules_of(options: argparse.Namespace) -> "Rules":
    """What the user tells of the competition beside its files."""
    from competition.data.config import read

    return read(DATA / options.competition)


def metric_of(options: argparse.Namespace) -> "Metric":
    """What the competition's leaderboard ranks by."""
    from competition.data.config import FILE
    from competition.scoring.metrics import named

    metric = rules_of(options).metric
    try:
        return named(metric)
    except Problem as problem:
        raise Problem(f"{DATA / options.competition / FILE}: {problem}") from None


def scored_rows(options: argparse.Namespace, dataset: "Dataset") -> float:
    """How many test rows the leaderboard scores."""
    return rules_of(options).public * len(dataset.test_ids)


def origin_of(options: argparse.Namespace, store: "Store") -> "Origin":
    """All that decides how a submission comes out."""
    from competition.submission.log import Origin

    asked = {member.name: store.fingerprint(member) for member in members_of(options)}
    data, folds = store.dataset.digest, store.folds
    metric, answer = metric_of(options).name, rules_of(options).answer
    return Origin(options.competition, data, folds.name, folds.digest, asked, options.blend, metric, answer)


def members_of(options: argparse.Namespace) -> "list[Member]":
    """Whom the user named, each once; `all` names every model."""
    from competition.models.registry import available

    names = available() if list(options.models) == ["all"] else dict.fromkeys(options.models)
    return [member_of(options, name) for name in names]


def member_of(options: argparse.Namespace, name: str) -> "Member":
    """The member of this name, with the settings that tuning adopted for the competition, and those of its rules."""
    from competition.models.hyperparameters import adopted, ruled
    from competition.models.member import Member

    member = adopted(FOLDS / options.competition, Member.named(name))
    return ruled(member, rules_of(options))


def workers_of(options: argparse.Namespace) -> "Workers":
    """This machine's cores, or a cluster."""
    if not options.cluster:
        from competition.workers.local import LocalWorkers

        return LocalWorkers(options.jobs)
    try:
        from competition.workers.cluster import ClusterWorkers
    except ModuleNotFoundError:
        remedy = "use make's verbs, or: pip install -r requirements-cluster.txt"
        raise Problem(f"a cluster needs Dask; {remedy}") from None
    return ClusterWorkers(options.cluster, options.jobs)


def cross_validated(options: argparse.Namespace, store: "Store") -> "Generator[list[Predictions]]":
    """All complete members whenever there are more, with progress on the terminal."""
    members = members_of(options)
    require_rows(store, members)
    with workers_of(options) as workers:
        yield from _trained(options, store, members, workers)


def _trained(
    options: argparse.Namespace, store: "Store", members: "Sequence[Member]", workers: "Workers"
) -> "Generator[list[Predictions]]":
    from competition.crossval.progress import Progress
    from competition.crossval.run import cross_validate, unfinished
    from competition.crossval.tensorboard import folder_of, logged
    from competition.ensemble.advice import expected
    from competition.files import alone
    from competition.models.hyperparameters import path_of
    from competition.views.terminal import live

    if tasks := unfinished(store, members):
        reasons = sorted({f"{task.member.name}: {reason}" for task, reason in tasks.items()})
        print(f"{len(tasks)} folds to train with {workers.jobs} workers", *reasons, sep="\n  ", flush=True)
    for path in sorted({path_of(store.folder, member) for member in members}):
        if path.exists():
            print(f"{path.stem} has the settings of {path}", flush=True)
    progress = Progress(store, members, workers, metric_of(options))
    end = time.monotonic() + (options.budget or math.inf)

    def admits(task: "Task") -> bool:
        return progress.fits(task.member, end - time.monotonic())

    def promises(complete: "Sequence[Predictions]", waiting: "Sequence[Member]") -> "dict[Member, float]":
        if not options.budget:
            return {}  # everybody's turn comes, the cheap ones' first
        saved = expected(complete, waiting, store.dataset.labels, store.folds.held_out)
        return {member: saved[member] / max(progress.left_for(member), 1.0) for member in waiting}

    with (
        alone(store.folder / store.folds.name),
        live.shown(progress) as shown,
        logged(folder_of(store), shown) as hear,
        closing(cross_validate(store, members, workers, hear, admits, promises)) as complete,
    ):
        yield from complete


def require_rows(store: "Store", members: "Sequence[Member]") -> None:
    """A Problem where a class is too rare for the models named, before each of their tasks fails of it."""
    import numpy as np

    labels, held_out, classes = store.dataset.labels, store.folds.held_out, store.dataset.classes
    taught = [np.bincount(labels[held_out != fold], minlength=len(classes)) for fold in range(store.folds.count)]
    fewest = np.min(taught, axis=0)
    rare = int(fewest.argmin())
    asking = [member.name for member in members if not (member.spec.is_network or member.imported)]
    if asking and fewest[rare] < LEAST_ROWS:
        count = (labels == rare).sum()
        raise Problem(
            f"class {classes[rare]} has {count} images, of which a fold leaves {fewest[rare]} to train on; {asking[0]} "
            f"needs {LEAST_ROWS}: add images, or train networks alone, such as MODELS=plain"
        )


class _TimeIsUp(BaseException):
    """The budget is spent; like Ctrl-C, it is no error that whoever is interrupted might take for its own."""


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """End quietly once the time is up, whatever runs."""

    def ring(*what: Any) -> None:
        raise _TimeIsUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    except _TimeIsUp:
        print("the time is up; what is finished is kept, and the same command goes on from there", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
