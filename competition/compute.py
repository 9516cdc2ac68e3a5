"""Where tasks run: worker processes on this machine's cores.

Each worker is a pool of one process, spawned by joblib's loky with its thread limits set before any library loads: a
death then names its task and takes no other task along. A worker has one thread, however many workers there are, since
two workers of one thread train twice as fast as one of two, and results do not depend on the number of workers.

What a worker found it leaves in a file. Were it sent through loky's pipe, and the worker killed before all of it was,
the driver would wait for the rest for ever.

Where there are GPUs, each has one worker that nobody else's kernels delay. Tasks that want one go there, and the others
keep the cores.
"""

import os
import pickle
import re
import shutil
import signal
import subprocess
import tempfile
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from joblib import cpu_count
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from competition.channel import Line, be_heard, call, say
from competition.problem import Problem

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
FRUGAL = {  # no chatter, no GPU memory in advance
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
CUDA_LIBRARIES = ("nvidia.cudnn", "jax_cuda12_plugin", "jax_cuda13_plugin")  # with them networks can use a GPU
MEMORY = 1.5e9  # bytes that a worker may take
LOOK_AROUND = 0.2  # seconds between looks at what the workers said

Say = Callable[..., None]
Work = Callable[[Any, Say], Any]
Take = Callable[[Callable[[Any], bool]], Any | None]
AnyWorker = TypeVar("AnyWorker", bound="Worker")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result: a line for the terminal, and all that is known."""

    reason: str
    details: str


def succeeded(name: str, outcome: Any) -> Any:
    """The task's result; where there is none, a Problem that tells why."""
    if isinstance(outcome, Failure):
        raise Problem(f"{name} failed: {outcome.reason}\n{outcome.details}")
    return outcome


@dataclass(frozen=True)
class Death:
    """A worker ended without an answer; its task may be tried again."""

    failure: Failure


class Worker(Protocol):
    """One process that works on one task at a time."""

    def fits(self, task: Any) -> bool:
        """Whether the task may be done here."""


class Crew(Protocol[AnyWorker]):
    """Workers that are ready for one kind of work."""

    def idle(self) -> list[AnyWorker]:
        """Those that have nothing to do."""

    def begin(self, worker: AnyWorker, task: Any) -> None:
        """Give an idle worker a task."""

    def ended(self) -> list[tuple[Any, Any]]:
        """(task, result or Failure or Death) of what has ended since the last time, or after waiting for a moment."""

    def heard(self) -> Iterable[tuple]:
        """(task, what was said) since the last time, all that led to what has ended included."""


class Workers(ABC):
    """Where tasks run; how they are handed out is the same everywhere."""

    attempts = 2  # a worker can die of its neighbours' hunger for memory, so its task gets a second one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return  # workers on this machine end with each run

    @property
    @abstractmethod
    def jobs(self) -> int:
        """How many tasks run at a time."""

    def able(self, task: Any) -> int:
        """How many of them can do such a task."""
        return self.jobs

    @abstractmethod
    def crew(self, work: Work) -> AbstractContextManager[Crew]:
        """Workers that do work(task, say) for each of their tasks."""

    def run(self, work: Work, take: Take, hear: Say) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result or Failure) as tasks finish.

        `take` is asked for the next task whenever a worker is idle, and given what tells whether a task fits that
        worker. The run ends when nobody works and there is none. `hear` gets (task, what its worker said). Both are
        called in the driver's thread.
        """
        tried: dict[Any, int] = {}
        again: list[Any] = []
        with self.crew(work) as crew:
            while True:
                for worker in crew.idle():
                    first = next((task for task in again if worker.fits(task)), None)
                    if first is not None:
                        again.remove(first)
                    elif (first := take(worker.fits)) is None:
                        continue
                    tried[first] = tried.get(first, 0) + 1
                    crew.begin(worker, first)
                    hear(first, "started")
                if not tried:
                    return
                outcomes = crew.ended()
                for said in crew.heard():
                    hear(*said)
                for task, outcome in outcomes:
                    if isinstance(outcome, Death) and tried[task] < self.attempts:
                        again.append(task)
                        hear(task, "again", outcome.failure)
                        continue
                    del tried[task]
                    yield task, outcome.failure if isinstance(outcome, Death) else outcome


def in_turn(tasks: Iterable[Any]) -> Take:
    """The tasks in the order given, each as soon as a worker asks that it fits."""
    waiting = list(tasks)

    def take(fits: Callable[[Any], bool]) -> Any | None:
        first = next((task for task in waiting if fits(task)), None)
        if first is not None:
            waiting.remove(first)
        return first

    return take


def wants_gpu(task: Any) -> bool:
    """Whether the task says so; most say nothing."""
    return getattr(task, "wants_gpu", False)


class LocalWorkers(Workers):
    """One worker for each GPU, and others up to the number asked for, at most one a core that is left to us."""

    def __init__(self, jobs: int | None = None, gpus: Sequence[str] | None = None) -> None:
        self._jobs = min(jobs or cpu_count(), cpu_count())
        self.gpus = usable_gpus() if gpus is None else gpus

    @property
    def jobs(self) -> int:
        """As many as were asked for."""
        return self._jobs

    def able(self, task: Any) -> int:
        """Where there are GPUs, those that want one wait for them, and the others share the rest of the cores."""
        return len(self.gpus) if self.gpus and wants_gpu(task) else self._without_gpu

    @property
    def _without_gpu(self) -> int:
        """How many have a core and no GPU."""
        return max(self.jobs - len(self.gpus), 1)

    @contextmanager
    def crew(self, work: Work) -> "Iterator[_LocalCrew]":
        """Processes that start with their first task and end with the crew."""
        with Line() as line, tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            # Loky replaces a worker that has grown by 300 MB since its first task, as networks do; that is welcome.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            owners = [*self.gpus, *[None] * self._without_gpu]
            workers = [
                _spawned(line, Path(scratch) / f"{number}", gpu, bool(self.gpus)) for number, gpu in enumerate(owners)
            ]
            crew = _LocalCrew(work, line, workers)
            try:
                yield crew
            finally:
                line.hang_up()
                for worker in crew.workers:
                    worker.pool.shutdown(kill_workers=True)


@dataclass(frozen=True)
class _LocalWorker:
    """A pool of one process."""

    pool: ProcessPoolExecutor
    last_words: Path  # what the process wrote to its standard error
    result: Path  # of its latest task
    gpu: str | None  # the only one that it sees
    among_gpus: bool  # whether any worker has one

    def fits(self, task: Any) -> bool:
        """Where there are GPUs, what wants one waits for it, and nothing else delays that."""
        return not self.among_gpus or wants_gpu(task) == bool(self.gpu)


class _LocalCrew:
    """Processes on this machine."""

    def __init__(self, work: Work, line: Line, workers: Sequence[_LocalWorker]) -> None:
        self._work, self._line = work, line
        self._idle = list(workers)
        self._busy: dict[Future, tuple[_LocalWorker, Any]] = {}

    @property
    def workers(self) -> list[_LocalWorker]:
        """All, idle or busy."""
        return [*self._idle, *(worker for worker, _ in self._busy.values())]

    def idle(self) -> list[_LocalWorker]:
        """Those that have nothing to do."""
        return list(self._idle)

    def begin(self, worker: _LocalWorker, task: Any) -> None:
        """Give the task to this worker or, should it have died while it was idle, to a fresh one."""
        self._idle.remove(worker)
        try:
            future = worker.pool.submit(_work, self._work, task, worker.result)
        except TerminatedWorkerError:
            worker = _replaced(self._line, worker)
            future = worker.pool.submit(_work, self._work, task, worker.result)
        self._busy[future] = worker, task

    def ended(self) -> list[tuple[Any, Any]]:
        """What has ended; a dead worker's place is taken by a fresh one."""
        outcomes: list[tuple[Any, Any]] = []
        for future in wait(self._busy, LOOK_AROUND, FIRST_COMPLETED).done:
            worker, task = self._busy.pop(future)
            try:
                outcomes.append((task, future.result() or _read(worker.result)))
            except TerminatedWorkerError as error:
                outcomes.append((task, Death(_death(error, worker))))
                worker = _replaced(self._line, worker)
            self._idle.append(worker)
        return outcomes

    def heard(self) -> Iterator[tuple]:
        """What the workers said."""
        return self._line.heard()


def usable_gpus() -> list[str]:
    """The GPUs that are there and that an installed library can use."""
    if not any(_installed(library) for library in CUDA_LIBRARIES) or not shutil.which("nvidia-smi"):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu and gpu != "-1"]
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^GPU (\d+):", listed, re.M)


def _installed(library: str) -> bool:
    """Whether it could be imported, found out without doing so."""
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def _spawned(line: Line, last_words: Path, gpu: str | None, among_gpus: bool) -> _LocalWorker:
    """A worker whose process starts with its first task."""
    environment = ONE_THREAD | FRUGAL | {"CUDA_VISIBLE_DEVICES": gpu or "-1"}
    pool = ProcessPoolExecutor(1, env=environment, initializer=_begin, initargs=(*line.number, str(last_words)))
    return _LocalWorker(pool, last_words, last_words.with_suffix(".result"), gpu, among_gpus)


def _replaced(line: Line, worker: _LocalWorker) -> _LocalWorker:
    """A fresh worker in the place of a dead one."""
    worker.pool.shutdown(kill_workers=True)
    return _spawned(line, worker.last_words, worker.gpu, worker.among_gpus)


def _death(error: TerminatedWorkerError, worker: _LocalWorker) -> Failure:
    """What can be told of a worker that ended without an answer."""
    codes = re.search(r"\{(.*?)\}", str(error))
    how = codes[1] if codes else "for no known reason"
    hint = "; SIGKILL mostly means that the memory ran out: try fewer JOBS" if "SIGKILL" in how else ""
    words = worker.last_words.read_text(errors="replace") if worker.last_words.exists() else ""
    return Failure(f"its worker died, {how}{hint}", words[-4000:])


def _begin(address: Any, key: bytes, last_words: str) -> None:
    """In the worker, once: leave Ctrl-C to the driver, keep what libraries mutter off the terminal, call the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(last_words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    call(address, key)


def _work(work: Work, task: Any, result: Path) -> Failure | None:
    """In the worker: leave the result in a file, or return as a Failure what went wrong, so that a task fails alone."""
    try:
        result.write_bytes(pickle.dumps(work(task, partial(say, task))))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
    else:
        return None
    finally:
        be_heard()


def _read(result: Path) -> Any:
    """What the worker left there, which is then gone."""
    found = pickle.loads(result.read_bytes())
    result.unlink()
    return found
