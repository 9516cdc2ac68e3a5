"""Where tasks run: worker processes on this machine's cores.

Each worker is a pool of one process, spawned by joblib's loky with its thread limits set before any library loads: a
death then names its task and takes no other task along. A worker has one thread, however many workers there are, since
two workers of one thread train twice as fast as one of two, and results do not depend on the number of workers.
"""

import os
import re
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import cpu_count
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from competition.channel import Line, call, say

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
FRUGAL = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # no chatter, no GPU memory in advance
ATTEMPTS = 2  # a worker can die of its neighbours' hunger for memory, so its task gets a second one
LOOK_AROUND = 0.2  # seconds between looks at what the workers said

Say = Callable[..., None]
Work = Callable[[Any, Say], Any]


@dataclass(frozen=True)
class Failure:
    """Why a task has no result: a line for the terminal, and all that is known."""

    reason: str
    details: str


@dataclass(frozen=True)
class _Worker:
    """A pool of one process."""

    pool: ProcessPoolExecutor
    last_words: Path  # what the process wrote to its standard error


class LocalWorkers:
    """As many worker processes as asked for, at most one for each core that affinity and cgroup leave us."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = min(jobs or cpu_count(), cpu_count())

    def run(self, work: Work, tasks: Sequence[Any], hear: Say) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result or Failure) of work(task, say) as tasks finish; they start in the order given.

        `hear` gets (task, what its worker said), in the driver's thread.
        """
        with Line() as line, tempfile.TemporaryDirectory() as scratch:
            attempts = deque((task, 1) for task in tasks)
            idle = [_spawned(line, Path(scratch) / f"{number}") for number in range(min(self.jobs, len(tasks)))]
            busy: dict[Future, tuple[_Worker, Any, int]] = {}
            outcomes: list[tuple[Any, Any]] = []
            try:
                while attempts or busy or outcomes:
                    while idle and attempts:
                        worker, (task, attempt) = idle.pop(), attempts.popleft()
                        future, worker = _submitted(line, worker, work, task)
                        busy[future] = worker, task, attempt
                        hear(task, "started")
                    # Only now, so that no worker waits while the outcomes are looked at.
                    yield from outcomes
                    outcomes = []
                    finished = wait(busy, LOOK_AROUND, FIRST_COMPLETED).done if busy else set()
                    for said in line.heard():
                        hear(*said)
                    for future in finished:
                        worker, task, attempt = busy.pop(future)
                        try:
                            outcomes.append((task, future.result()))
                        except TerminatedWorkerError as error:
                            failure = _death(error, worker)
                            worker = _replaced(line, worker)
                            if attempt < ATTEMPTS:
                                attempts.appendleft((task, attempt + 1))
                                hear(task, "again", failure)
                            else:
                                outcomes.append((task, failure))
                        idle.append(worker)
            finally:
                line.hang_up()
                for worker in [*idle, *(worker for worker, _, _ in busy.values())]:
                    worker.pool.shutdown(kill_workers=True)


def _spawned(line: Line, last_words: Path) -> _Worker:
    """A worker whose process starts with its first task."""
    pool = ProcessPoolExecutor(1, env=ONE_THREAD | FRUGAL, initializer=_begin, initargs=(*line.number, str(last_words)))
    return _Worker(pool, last_words)


def _replaced(line: Line, worker: _Worker) -> _Worker:
    """A fresh worker in the place of a dead one."""
    worker.pool.shutdown(kill_workers=True)
    return _spawned(line, worker.last_words)


def _submitted(line: Line, worker: _Worker, work: Work, task: Any) -> tuple[Future, _Worker]:
    """The task, begun by this worker or, should it have died while it was idle, by a fresh one."""
    try:
        return worker.pool.submit(_work, work, task), worker
    except TerminatedWorkerError:
        worker = _replaced(line, worker)
        return worker.pool.submit(_work, work, task), worker


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


def _work(work: Work, task: Any) -> Any:
    """In the worker: the result, or as a Failure what went wrong, so that a task fails alone."""
    try:
        return work(task, lambda *said: say(task, *said))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
