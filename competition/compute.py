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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
ATTEMPTS = 2  # a worker can die of its neighbours' hunger for memory, so its task gets a second one
LOOK_AROUND = 0.2  # seconds between looks at what the workers said

Say = Callable[..., None]
Work = Callable[[Any, Say], Any]


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
class _Worker:
    """A pool of one process."""

    pool: ProcessPoolExecutor
    last_words: Path  # what the process wrote to its standard error
    result: Path  # of its latest task
    gpu: str | None  # the only one that it sees


@dataclass(frozen=True)
class _Attempt:
    """A task and how often it was tried, this time included."""

    task: Any
    number: int
    wants_gpu: bool


class LocalWorkers:
    """One worker for each GPU, and others up to the number asked for, at most one a core that is left to us."""

    def __init__(self, jobs: int | None = None, gpus: Sequence[str] | None = None) -> None:
        self.jobs = min(jobs or cpu_count(), cpu_count())
        self.gpus = usable_gpus() if gpus is None else gpus

    def run(
        self,
        work: Work,
        tasks: Sequence[Any],
        hear: Say,
        wants_gpu: Callable[[Any], bool] = lambda task: False,
        admits: Callable[[Any], bool] = lambda task: True,
        more: Callable[[int], Sequence[Any]] = lambda idle: (),
        rank: Callable[[Any], float] = lambda task: 0.0,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result or Failure) of work(task, say) as tasks finish.

        They start in the order given, by their `rank` among those that wait, which is asked again whenever some have
        finished. `hear` gets (task, what its worker said), in the driver's thread. `admits` is asked when a task's turn
        has come; one that is not admitted is dropped. `more` is asked for further tasks, at most so many, when workers
        are idle.
        """
        with Line() as line, tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            # Loky replaces a worker that has grown by 300 MB since its first task, as networks do; that is welcome.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)

            def first_attempts(tasks: Sequence[Any]) -> list[_Attempt]:
                return [_Attempt(task, 1, bool(self.gpus) and wants_gpu(task)) for task in tasks]

            owners = [*self.gpus, *[None] * max(self.jobs - len(self.gpus), 1)]
            idle = [_spawned(line, Path(scratch) / f"{number}", gpu) for number, gpu in enumerate(owners)]
            busy: dict[Future, tuple[_Worker, _Attempt]] = {}
            outcomes: list[tuple[Any, Any]] = []
            attempts = first_attempts(tasks) or first_attempts(more(len(idle)))
            try:
                while attempts or busy or outcomes:
                    while match := _matched(attempts, idle):
                        attempt, worker = match
                        attempts.remove(attempt)
                        if not admits(attempt.task):
                            hear(attempt.task, "dropped")
                            continue
                        idle.remove(worker)
                        future, worker = _submitted(line, worker, work, attempt.task)
                        busy[future] = worker, attempt
                        hear(attempt.task, "started")
                    # Only now, so that no worker waits while the outcomes are looked at.
                    yield from outcomes
                    if outcomes:
                        attempts.sort(key=lambda attempt: rank(attempt.task))
                    outcomes = []
                    if idle and not attempts and (attempts := first_attempts(more(len(idle)))):
                        continue
                    finished = wait(busy, LOOK_AROUND, FIRST_COMPLETED).done if busy else set()
                    for said in line.heard():
                        hear(*said)
                    for future in finished:
                        worker, attempt = busy.pop(future)
                        try:
                            outcomes.append((attempt.task, future.result() or _read(worker.result)))
                        except TerminatedWorkerError as error:
                            failure = _death(error, worker)
                            worker = _replaced(line, worker)
                            if attempt.number < ATTEMPTS:
                                attempts.insert(0, replace(attempt, number=attempt.number + 1))
                                hear(attempt.task, "again", failure)
                            else:
                                outcomes.append((attempt.task, failure))
                        idle.append(worker)
            finally:
                line.hang_up()
                for worker in [*idle, *(worker for worker, _ in busy.values())]:
                    worker.pool.shutdown(kill_workers=True)


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


def _matched(attempts: Sequence[_Attempt], idle: Sequence[_Worker]) -> tuple[_Attempt, _Worker] | None:
    """The first task that an idle worker may do, and that worker."""
    pairs = ((attempt, worker) for attempt in attempts for worker in idle)
    return next((pair for pair in pairs if pair[0].wants_gpu == bool(pair[1].gpu)), None)


def _spawned(line: Line, last_words: Path, gpu: str | None) -> _Worker:
    """A worker whose process starts with its first task."""
    environment = ONE_THREAD | FRUGAL | {"CUDA_VISIBLE_DEVICES": gpu or "-1"}
    pool = ProcessPoolExecutor(1, env=environment, initializer=_begin, initargs=(*line.number, str(last_words)))
    return _Worker(pool, last_words, last_words.with_suffix(".result"), gpu)


def _replaced(line: Line, worker: _Worker) -> _Worker:
    """A fresh worker in the place of a dead one."""
    worker.pool.shutdown(kill_workers=True)
    return _spawned(line, worker.last_words, worker.gpu)


def _submitted(line: Line, worker: _Worker, work: Work, task: Any) -> tuple[Future, _Worker]:
    """The task, begun by this worker or, should it have died while it was idle, by a fresh one."""
    try:
        return worker.pool.submit(_work, work, task, worker.result), worker
    except TerminatedWorkerError:
        worker = _replaced(line, worker)
        return worker.pool.submit(_work, work, task, worker.result), worker


def _death(error: TerminatedWorkerError, worker: _Worker) -> Failure:
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
        result.write_bytes(pickle.dumps(work(task, lambda *said: say(task, *said))))
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
