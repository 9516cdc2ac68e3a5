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
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joblib import cpu_count
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from competition.workers.base import Death, Failure, Work, Workers, wants_gpu
from competition.workers.machine import FRUGAL, ONE_THREAD, usable_gpus
from competition.workers.messages import Line, be_heard, call, say

LOOK_AROUND = 0.2  # seconds between looks at what the workers said


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
