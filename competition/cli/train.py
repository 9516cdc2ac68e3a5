"""Train the members of a run, within its time budget."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from competition.cli.run import (
    Run,
    default_members,
    download_extractor,
    extraction_seconds,
    needs_class_rows,
    open_extractor,
    rarest_class,
)
from competition.errors import UserError, missing_extra, option

if TYPE_CHECKING:
    from competition.crossval.predictions import Predictions
    from competition.crossval.progress import Progress
    from competition.crossval.store import Store
    from competition.crossval.task import Task
    from competition.models.member import Member
    from competition.workers.base import Workers

MIN_EPOCHS = 2  # of a network that is shortened to fit a budget
LIMIT_SIGNAL = getattr(signal, "SIGALRM", signal.SIGINT)
MAX_EXTRACTION_SHARE = 0.5  # of the budget; otherwise nothing is extracted
LIMIT_REACHED = "time limit reached; finished work is kept, run the same command again to continue"
BUDGET_SHARE = 0.85  # of the time left, planned for the first network; folds may take an eighth longer


def open_workers(run: Run) -> "Workers":
    """The cores of this machine, or the workers of a cluster."""
    if not run.cluster:
        from competition.workers.local import LocalWorkers

        return LocalWorkers(run.jobs)
    try:
        from competition.workers.cluster import ClusterWorkers
    except ModuleNotFoundError:
        raise missing_extra("Dask", "cluster") from None
    return ClusterWorkers(run.cluster, run.jobs)


def cross_validate_run(run: Run) -> "Generator[list[Predictions]]":
    """Train the members, showing progress; yield all complete members whenever one is completed."""
    from competition.crossval.progress import Progress
    from competition.crossval.run import Schedule, cross_validate
    from competition.crossval.tensorboard import log_epochs, log_folder
    from competition.files import exclusive_lock
    from competition.views.terminal import live

    store = run.store
    require_class_rows(store, run.members)
    prepare_features(run)
    with open_workers(run) as workers:
        print_plan(run, workers)
        progress = Progress(store, run.members, workers, run.metric, run.slowdowns)
        limits = BudgetLimits(run, progress)
        schedule = Schedule(limits.fits, limits.priorities)
        with (
            describe_unfinished(store, progress),
            exclusive_lock(store.split_folder),
            live.show_table(progress) as show_event,
            log_epochs(log_folder(store), show_event) as on_event,
            closing(cross_validate(store, run.members, workers, on_event, schedule)) as complete,
        ):
            yield from complete


@contextmanager
def describe_unfinished(store: "Store", progress: "Progress") -> Iterator[None]:
    """If the block is interrupted, print after which epochs the running folds continue in the next run."""
    from competition.crossval.checkpoint import checkpoint_path, describe_checkpoint

    try:
        yield
    except KeyboardInterrupt:
        for task in progress.running:
            path = checkpoint_path(store.split_folder, task.member.name, task.fold)
            if epoch := describe_checkpoint(path):
                print(f"{task.name} will continue after {epoch}", file=sys.stderr, flush=True)
        raise


def prepare_features(run: Run) -> None:
    """Make a pretrained network available if members need it, and extract its features if they learn from these."""
    from competition.crossval.extraction import Extraction, extract_features
    from competition.data.config import CONFIG_FILE
    from competition.models.pretrained.sources import find_extractor
    from competition.views.terminal.live import show_extraction

    features, competition = run.dataset.features, run.competition
    if any(member.spec.is_fine_tuned for member in run.members):
        download_extractor(competition.folder)
    if not features or not any(member.needs_pretrained for member in run.members) or run.store.folds.uses_all_rows:
        return  # no pretrained network, or it was used in cross-validation
    opt_out = f"where outside weights are forbidden, set pretrained = false in {competition.folder / CONFIG_FILE}"
    network = find_extractor(competition.config, competition.folder)
    print(f"pretrained network: {network.describe()}; {opt_out}", flush=True)
    if not any(member.uses_features for member in run.members):
        return
    features.remove_if_damaged()
    if not features.are_complete and (extractor := open_extractor(run.store, run.members)):
        extraction = Extraction(extractor, competition.folder, competition.config)
        with open_workers(run) as workers, show_extraction() as on_progress:
            extract_features(extraction, run.dataset, workers, on_progress)


def fit_to_budget(run: Run) -> Run:
    """Choose how long to train the first network, so that it can be completed within the budget.

    The cheapest image model is trained first, so that there is a submission.
    """
    from competition.crossval.run import FailedFoldsError, cheapest_first

    start, budget = time.monotonic(), run.budget or math.inf
    run = _drop_features(run, budget)
    on_images = [member for member in run.members if not member.uses_columns]
    cheapest = next((member for member in cheapest_first(run.store, on_images) if not member.spec.is_network), None)
    with time_limit(budget):
        if cheapest:
            with suppress(FailedFoldsError):  # reported already; the other models may succeed
                train_members(replace(run, members=(cheapest,)))
        run = _choose_length(run, start + budget)
    return replace(run, budget=max(1.0, start + budget - time.monotonic()))


def _drop_features(run: Run, budget: float) -> Run:
    """Train models without pretrained features instead if extracting these would take most of the budget."""
    seconds = extraction_seconds(run.competition, run.members)
    if not seconds:
        return run
    from competition.checks.machine_speed import REFERENCE_GFLOPS, measure_gflops
    from competition.crossval.progress import format_duration

    with open_workers(run) as workers:
        seconds *= REFERENCE_GFLOPS / measure_gflops()["float32"] / workers.jobs
    if seconds <= MAX_EXTRACTION_SHARE * budget:
        return run
    names = " ".join(member.name for member in run.members if member.uses_features)
    share = f"{format_duration(seconds)} of the budget of {format_duration(budget)}"
    print(f"left out: {names} (extracting their features would take about {share})", flush=True)
    competition = replace(run.competition, dataset=replace(run.dataset, features=None))
    return replace(run, members=default_members(competition, run.store))


def shorter_variants(member: "Member") -> list[str]:
    """Names of the network's variants with fewer epochs, longest first; empty for a variant or another seed."""
    from competition.models.registry import load_spec

    if member.name != member.model:
        return []
    epochs = range(MIN_EPOCHS, load_spec(member.model).recipe.epochs)
    return [f"{member.model}:e{number}" for number in reversed(epochs)]


def _choose_length(run: Run, end: float) -> Run:
    """Replace the first network by the longest of its variants that can be completed at the measured speed.

    A variant that was begun by an earlier run comes first, if it still fits.
    """
    from competition.crossval.checkpoint import checkpoint_path
    from competition.crossval.progress import Progress, format_duration
    from competition.models.hyperparameters import tuned_path

    store = run.store
    first = next((member for member in run.members if member.spec.is_network), None)
    if not first or not any(store.reason_to_train(first, fold) for fold in range(store.folds.count)):
        return run
    variants = [first, *map(run.competition.member, shorter_variants(first))]
    with open_workers(run) as workers:
        progress = Progress(store, variants, workers, run.metric)
        if not any(progress.seconds.values()):
            _measure_slowdowns(run, variants, workers, progress)
        begun = [
            member
            for member in variants
            if progress.seconds[member.name]
            or any(checkpoint_path(store.split_folder, member.name, fold).exists() for fold in range(store.folds.count))
        ]
        left = BUDGET_SHARE * (end - time.monotonic())
        chosen = next((member for member in [*begun, *variants] if progress.fits(member, left)), variants[-1])
        expected = format_duration(progress.expected_seconds(chosen))
    print(f"a fold of {chosen.name} takes about {expected}", flush=True)
    if chosen != first and tuned_path(store.folder, first).exists():
        print(f"{chosen.name} does not use the tuned hyperparameters of {first.name}", flush=True)
    members = tuple(chosen if member == first else member for member in run.members)
    return replace(run, members=members, slowdowns=progress.slowdowns)


def _measure_slowdowns(run: Run, variants: "Sequence[Member]", workers: "Workers", progress: "Progress") -> None:
    """Measure, for the estimates of time, how much slower than the reference machine the workers train each variant."""
    from competition.crossval.training_speed import measure_speed
    from competition.workers.events import Failure

    first = variants[0]
    print(f"measuring how fast {first.name} trains ...", flush=True)
    speed = measure_speed(first, run.store, workers)
    if isinstance(speed, Failure):
        print(f"could not measure it ({speed.reason}); assuming a typical speed", flush=True)
        return
    for member in variants:
        progress.slowdowns[member.name] = speed.fold_seconds(member, run.store) / run.store.reference_seconds(member)


class BudgetLimits:
    """Which folds to train, and in which order, within the run's time budget."""

    def __init__(self, run: Run, progress: "Progress") -> None:
        self.run, self.progress = run, progress
        self.end = time.monotonic() + (run.budget or math.inf)

    def fits(self, task: "Task") -> bool:
        """Whether the task's member can be completed in time."""
        return self.progress.fits(task.member, self.end - time.monotonic())

    def priorities(self, complete: "Sequence[Predictions]", waiting: "Sequence[Member]") -> "dict[Member, float]":
        """The first network, then by expected reduction of the loss per second; none without a budget."""
        from competition.ensemble.advice import estimate_gains

        store = self.run.store
        if not self.run.budget or store.folds.uses_all_rows:
            return {}
        gains = estimate_gains(complete, waiting, store.dataset.labels, store.folds.held_out)
        priorities = {member: gains[member] / max(self.progress.work_left(member), 1.0) for member in waiting}
        first_network = next(filter(lambda member: member.spec.is_network, self.run.members), None)
        return {member: math.inf if member == first_network else priorities[member] for member in waiting}


def print_plan(run: Run, workers: "Workers") -> None:
    """Print which folds will be trained and why, and which members have tuned hyperparameters."""
    from competition.crossval.run import pending_tasks
    from competition.models.hyperparameters import tuned_path

    if tasks := pending_tasks(run.store, run.members):
        reasons = sorted({f"{task.member.name}: {reason}" for task, reason in tasks.items()})
        what = "models to train on all rows" if run.store.folds.uses_all_rows else "folds to train"
        print(
            f"{len(tasks)} {what} with {workers.jobs} worker{'s' * (workers.jobs != 1)}",
            *reasons,
            sep="\n  ",
            flush=True,
        )
    if run.store.folds.uses_all_rows:
        return
    for path in sorted({tuned_path(run.store.folder, member) for member in run.members}):
        if path.exists():
            print(f"{path.stem} uses the hyperparameters in {path}", flush=True)


def require_class_rows(store: "Store", members: "Sequence[Member]") -> None:
    """Raise `UserError` if a class has too few training rows for a classical model."""
    from competition.models.interface import MIN_CLASS_ROWS

    classical = [member.name for member in members if needs_class_rows(member)]
    rarest = rarest_class(store)
    if classical and rarest and rarest.training_rows < MIN_CLASS_ROWS:
        raise UserError(
            f"class {rarest.name} has {rarest.rows} images, of which only {rarest.training_rows} "
            f"{'is' if rarest.training_rows == 1 else 'are'} among the training rows of a fold; "
            f"{classical[0]} needs {MIN_CLASS_ROWS}: add images, or train only networks, "
            f"e.g. {option('models', 'detail')}"
        )


def train_members(run: Run) -> None:
    """Train all members of the run."""
    with closing(cross_validate_run(run)) as stages:
        for _ in stages:
            pass


@contextmanager
def time_limit(seconds: float | None, message: str = LIMIT_REACHED) -> Iterator[None]:
    """Leave the block without an error after so many seconds, by a KeyboardInterrupt in the main thread.

    It comes from the handler of SIGALRM where there is one, since shells let jobs in the background ignore SIGINT.
    """
    if not seconds:
        yield
        return
    reached = threading.Event()

    def interrupt() -> None:
        reached.set()
        _thread.interrupt_main(LIMIT_SIGNAL)

    handler = signal.signal(LIMIT_SIGNAL, signal.default_int_handler)
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            signal.signal(LIMIT_SIGNAL, handler)
    except KeyboardInterrupt:
        if not reached.is_set():
            raise
        print(message, flush=True)
