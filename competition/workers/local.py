"""Worker processes on this machine's cores and GPUs.

Each worker is a pool of one process, spawned by joblib's loky with its thread limits set before any library loads. When
a process dies, its task is therefore known and no other task is lost. Each worker has one thread, because two
single-threaded workers train twice as fast as one worker with two threads, and because results must not depend on the
number of workers.

Results are passed through files. If they were sent through loky's pipe and the worker was killed halfway, the driver
would wait for the rest forever.

Each GPU has one worker, so that tasks do not share it. Tasks that want a GPU run there; the others run on the remaining
cores.
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
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joblib import cpu_count
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from competition.errors import DiskError, first_line, option
from competition.files import DISK_FAILURES, describe_file_error, scratch_folder
from competition.models.gpus import usable_gpus
from competition.workers.base import TaskFunction, WorkerDied, Workers, prefers_gpu
from competition.workers.events import Failure
from competition.workers.machine import QUIET_LIBRARIES, SINGLE_THREAD
from competition.workers.messages import Channel, connect, flush, send

POLL_SECONDS = 0.2  # maximum interval between message polls


class LocalWorkers(Workers):
    """One worker per GPU, and others for the remaining cores, at least one of them.

    With `jobs`, at most so many GPUs and cores are used, but at least one core.
    """

    def __init__(self, jobs: int | None = None, gpus: Sequence[str] | None = None) -> None:
        names = [gpu.name for gpu in usable_gpus()] if gpus is None else list(gpus)
        self.gpus = names[:jobs]
        self.cpu_workers = max(min(jobs or cpu_count(), cpu_count()) - len(self.gpus), 1)  # workers without a GPU

    @classmethod
    def single(cls) -> "LocalWorkers":
        """One worker for any task; it has a GPU if there is one."""
        workers = cls(1)
        if workers.gpus:
            workers.cpu_workers = 0
        return workers

    @property
    def jobs(self) -> int:
        """Number of tasks that run at a time."""
        return len(self.gpus) + self.cpu_workers

    def capacity(self, task: Any) -> int:
        """Return how many workers can run such a task: those with a GPU or those without."""
        return len(self.gpus) if self.gpus and prefers_gpu(task) else self.cpu_workers

    @contextmanager
    def open_pool(self, function: TaskFunction) -> "Iterator[_LocalPool]":
        """Return a pool of processes that start with their first task."""
        with Channel() as channel, scratch_folder() as scratch, warnings.catch_warnings():
            # Loky restarts a worker that has grown by 300 MB since its first task. Training networks triggers this. The
            # restart is wanted because it frees memory, so silence the warning.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            gpus = [*self.gpus, *[None] * self.cpu_workers]
            workers = [_spawn(channel, scratch / f"{number}", gpu, bool(self.gpus)) for number, gpu in enumerate(gpus)]
            with closing(_LocalPool(function, channel, workers)) as pool:
                yield pool


@dataclass(frozen=True)
class _LocalWorker:
    """An executor with one process."""

    executor: ProcessPoolExecutor
    stderr_path: Path  # what the process wrote to its standard error
    result_path: Path  # of its latest task
    gpu: str | None  # the only one that it sees
    pool_has_gpus: bool  # whether any worker has a GPU

    def fits(self, task: Any) -> bool:
        """Whether to run the task here.

        If the pool has GPU workers, GPU tasks run only on them and CPU tasks only on the others.
        """
        return not self.pool_has_gpus or prefers_gpu(task) == bool(self.gpu)


class _LocalPool:
    """Worker processes on this machine."""

    def __init__(self, function: TaskFunction, channel: Channel, workers: Sequence[_LocalWorker]) -> None:
        self._function, self._channel = function, channel
        self._idle = list(workers)
        self._busy: dict[Future[Any], tuple[_LocalWorker, Any]] = {}

    def idle(self) -> list[_LocalWorker]:
        """Return the idle workers."""
        return list(self._idle)

    def submit(self, worker: _LocalWorker, task: Any) -> None:
        """Start the task on this worker or, if it died while idle, on its replacement."""
        self._idle.remove(worker)
        try:
            future = worker.executor.submit(_run_task, self._function, task, worker.result_path)
        except BrokenProcessPool:
            worker = _replace(self._channel, worker)
            future = worker.executor.submit(_run_task, self._function, task, worker.result_path)
        self._busy[future] = worker, task

    def wait(self) -> list[tuple[Any, Any]]:
        """Return the tasks that ended with their outcomes; dead workers are replaced."""
        outcomes: list[tuple[Any, Any]] = []
        for future in wait(self._busy, POLL_SECONDS, FIRST_COMPLETED).done:
            worker, task = self._busy.pop(future)
            try:
                outcomes.append((task, future.result() or _pop_result(worker.result_path)))
            except BrokenProcessPool as error:  # it died, or could not read its task
                outcomes.append((task, WorkerDied(_describe_death(error, worker))))
                worker = _replace(self._channel, worker)
            self._idle.append(worker)
        return outcomes

    def messages(self) -> Iterator[tuple[Any, Any]]:
        """Yield (task, payload) emitted since the last call."""
        return self._channel.receive()

    def close(self) -> None:
        """Stop all processes, busy or idle."""
        self._channel.stop_workers()
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            worker.executor.shutdown(kill_workers=True)


def _spawn(channel: Channel, stderr: Path, gpu: str | None, pool_has_gpus: bool) -> _LocalWorker:
    """Create a worker whose process starts with its first task."""
    environment = SINGLE_THREAD | QUIET_LIBRARIES | {"CUDA_VISIBLE_DEVICES": gpu or "-1"}
    arguments = (*channel.address, str(stderr))
    executor = ProcessPoolExecutor(1, env=environment, initializer=_initialize_worker, initargs=arguments)
    return _LocalWorker(executor, stderr, stderr.with_suffix(".result"), gpu, pool_has_gpus)


def _replace(channel: Channel, worker: _LocalWorker) -> _LocalWorker:
    """Create a worker in place of a dead one."""
    worker.executor.shutdown(kill_workers=True)
    return _spawn(channel, worker.stderr_path, worker.gpu, worker.pool_has_gpus)


def _describe_death(error: BrokenProcessPool, worker: _LocalWorker) -> Failure:
    """Return the exit code or signal of a dead worker, and the end of its standard error; or why it has no task."""
    if not isinstance(error, TerminatedWorkerError):
        return Failure(f"the worker could not start the task: {first_line(error)}", str(error.__cause__ or ""))
    codes = re.search(r"\{(.*?)\}", str(error))
    code = codes[1] if codes else "unknown cause"
    hint = f"; probably out of memory: lower {option('jobs')}" if "SIGKILL" in code else ""
    output = worker.stderr_path.read_text(errors="replace") if worker.stderr_path.exists() else ""
    return Failure(f"the worker died ({code}){hint}", output[-4000:])


def _initialize_worker(address: Any, key: bytes, stderr: str) -> None:
    """Ignore Ctrl-C, which the driver handles, write temporary files to its folder, and connect to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = str(Path(stderr).parent)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    connect(address, key)


def _run_task(function: TaskFunction, task: Any, result: Path) -> Failure | DiskError | None:
    """Run a task in the worker; write its result to a file, or return why there is none."""
    try:
        result.write_bytes(pickle.dumps(function(task, partial(send, task))))
    except Exception as error:
        if isinstance(error, DiskError):
            return error
        if isinstance(error, OSError) and error.errno in DISK_FAILURES:
            return DiskError(str(describe_file_error(error, result)))
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
    else:
        return None
    finally:
        flush()


def _pop_result(path: Path) -> Any:
    """Load a worker's result and delete the file."""
    result = pickle.loads(path.read_bytes())
    path.unlink()
    return result
