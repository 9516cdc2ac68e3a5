"""The part of a cluster's worker: it runs tasks, which arrive as bytes."""

import io
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing import current_process
from pathlib import Path
from threading import Lock
from typing import Any

from distributed import Status, get_worker

from competition.data.dataset import Dataset, package_name, unpack_dataset
from competition.errors import DiskError
from competition.workers.base import LocalFolder, Pool, TaskFunction, WorkerDied
from competition.workers.events import Failure
from competition.workers.local import LocalWorkers

CHECKPOINTS = "foldblend-checkpoints"  # the parent of local folders, in Dask's folder for temporary files


class Packer(pickle.Pickler):
    """Pickler that replaces data sets, which are sent separately and once, and local folders by their names."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.datasets: list[Dataset] = []

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        """Return type and name of a data set or a local folder, None for anything else."""
        if isinstance(value, LocalFolder):
            return "folder", value.name
        if not isinstance(value, Dataset):
            return None
        self.datasets.append(value)
        return "dataset", package_name(value)


class Unpacker(pickle.Unpickler):
    """Unpickler that loads data sets from the folder of the pickle.

    Local folders are next to it, since Dask deletes the folder when the worker ends.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.BytesIO(path.read_bytes()))
        self.folder = path.parent

    def persistent_load(self, key: tuple[str, str]) -> Dataset | LocalFolder:
        """Load the data set, or find the local folder, with this type and name."""
        kind, name = key
        if kind == "folder":
            return LocalFolder(self.folder.absolute().parent / CHECKPOINTS / name, name, is_drivers=False)
        return unpack_dataset(self.folder / f"{name}.zip")


def run_task(request: bytes) -> Any:
    """Run a task in a child process of this Dask worker; return its result, a Failure or WorkerDied.

    The Dask worker's own process would not be reproducible: Dask's threads draw from Python's global random numbers,
    which Keras uses, too.
    """
    worker = get_worker()
    function, topic, key, task = pickle.loads(request)

    def is_cancelled() -> bool:
        is_closing = worker.status in (Status.closing, Status.closed)
        return is_closing or worker.state.tasks[key].state != "executing"

    def forward_messages(pool: Pool[Any]) -> None:
        for _, payload in pool.messages():
            worker.log_event(topic, pickle.dumps((key, payload)))

    with _single_process(Path(worker.local_directory) / function) as pool:
        pool.submit(pool.idle()[0], task)
        while not (outcomes := pool.wait()):
            forward_messages(pool)
            if is_cancelled():
                raise InterruptedError("the driver no longer waits for this task")
        forward_messages(pool)
    ((_, outcome),) = outcomes
    if isinstance(outcome, DiskError):  # another machine's disk may have space
        return WorkerDied(Failure(str(outcome), ""))
    return outcome


_idle_pools: dict[Path, list[tuple[ExitStack, Pool[Any]]]] = {}  # by the file of their function
_pools_lock, _load_lock = Lock(), Lock()


@contextmanager
def _single_process(function: Path) -> Iterator[Pool[Any]]:
    """Return a pool of one process for this function; it is reused for the next task unless an error occurs."""
    with _pools_lock:  # threads of a worker share the pools
        outdated = [stack for other in _idle_pools.keys() - {function} for stack, _ in _idle_pools.pop(other)]
        idle = _idle_pools[function].pop() if _idle_pools.get(function) else None
    for stack in outdated:
        stack.close()
    if idle:
        stack, pool = idle
    else:
        current_process().daemon = False  # Dask's nannies make their workers daemons, which may not start processes
        stack = ExitStack()
        pool = stack.enter_context(LocalWorkers.single().open_pool(_load_function(function)))
    try:
        yield pool
    except BaseException:
        stack.close()
        raise
    with _pools_lock:
        _idle_pools.setdefault(function, []).append((stack, pool))


def _load_function(path: Path) -> TaskFunction:
    with _load_lock:  # two threads of a worker may load it at once
        return _load_cached(path)


@cache
def _load_cached(path: Path) -> TaskFunction:
    return Unpacker(path).load()
