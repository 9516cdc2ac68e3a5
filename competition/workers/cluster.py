"""Workers of a Dask scheduler, on any number of machines.

A worker needs only this package. The function to run and its data sets are sent to each worker once, as files, and
results come back as predictions. The scheduler needs only Dask, so everything that passes through it is bytes. Each
task is assigned to a worker by name, as on one machine; Dask transports it, reports which workers join and leave, and
restarts workers that died.
"""

import hashlib
import io
import logging
import pickle
import queue
import sys
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NoReturn, Self

from distributed import Client, Future
from distributed.comm.core import CommClosedError
from distributed.diagnostics.plugin import UploadFile
from tornado.ioloop import IOLoop

from competition.data.dataset import pack_dataset, package_name
from competition.errors import UserError, command, option
from competition.files import explain_write_errors, scratch_folder
from competition.models.backend import keras_backend
from competition.models.source import model_digests
from competition.workers.base import TaskFunction, WorkerDied, Workers, prefers_gpu
from competition.workers.events import Failure
from competition.workers.machine import WORKER_MEMORY
from competition.workers.remote import Packer

TIMEOUT = 10.0  # seconds for a scheduler or a worker to answer
RESULT_TIMEOUT = 300.0  # for the predictions and the model of a fold to arrive, perhaps from a slow connection
POLL_SECONDS = 0.5  # to wait for a task to end, or for a worker to join
REFRESH_SHARE = 0.1  # of the time at most, since listing thousands of workers takes a while
SAME_VERSIONS = ("python", "dask", "distributed")  # in driver and scheduler, or they cannot read each other's messages


@dataclass(frozen=True)
class _Slot:
    """A free thread of a Dask worker, which can run one task."""

    address: str
    has_gpu: bool
    is_mixed: bool  # whether some workers have a GPU and others do not

    def fits(self, task: Any) -> bool:
        """Whether to run the task here: in a mixed cluster networks wait for the GPUs, and nothing else runs there."""
        return not self.is_mixed or prefers_gpu(task) == self.has_gpu


class ClusterWorkers(Workers):
    """The compatible workers of a scheduler, up to `jobs` at a time; they may join and leave during a run."""

    max_attempts = 3
    share_files = False

    def __init__(self, address: str, jobs: int | None = None) -> None:
        self.address, self.max_running = address, jobs or sys.maxsize
        self._rejections: dict[str, str | None] = {}  # by address: why it gets no tasks, or None
        self._usable: dict[str, dict[str, Any]] = {}  # by address: Dask's description of the worker
        self.addresses: set[str] = set()  # of all workers at the last refresh
        self._processing: dict[str, tuple[str, ...]] = {}  # by address: keys of its tasks at the last refresh
        self._next_refresh = 0.0
        self._uploaded: set[str] = set()

    def __enter__(self) -> Self:
        """Connect to the scheduler and list its workers."""
        # We report errors and compare versions ourselves.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        with ExitStack() as stack:
            self.client = stack.enter_context(_connect(self.address))
            self.refresh()
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def jobs(self) -> int:
        """Number of tasks that could run at the last refresh; at least 1, since workers may still join."""
        return max(1, min(self.max_running, sum(info["nthreads"] for info in self._usable.values())))

    def capacity(self, task: Any) -> int:
        """Number of such tasks that could run at the last refresh; at least 1, since workers may still join."""
        threads = sum(info["nthreads"] for info, slot in self._slots() if slot.fits(task))
        return max(1, min(self.max_running, threads))

    @contextmanager
    def open_pool(self, function: TaskFunction) -> "Iterator[_ClusterPool]":
        """Return a pool of the cluster's workers, including those that join later."""
        with closing(_ClusterPool(self, self._upload_function(function))) as pool:
            yield pool

    def refresh(self) -> None:
        """List the workers and their tasks; print once why a worker cannot be used."""
        try:
            if self.client.status != "running":
                raise CommClosedError
            if (start := time.monotonic()) < self._next_refresh:
                return
            workers = self.client.scheduler_info()["workers"]
            self._processing = self.client.processing()
            self._next_refresh = time.monotonic() + (time.monotonic() - start) * (1 / REFRESH_SHARE - 1)
            if new := {address: info for address, info in workers.items() if address not in self._rejections}:
                self._rejections |= self._check_workers(new)
        except (OSError, TimeoutError):
            self._raise_disconnected()
        self.addresses = set(workers)
        running = {address: info for address, info in workers.items() if info["status"] == "running"}
        usable = {address: info for address, info in running.items() if not self._rejections[address]}
        if running and not usable:
            raise UserError(f"no worker of {self.address} can be used; fix what is reported above and run again")
        self._usable = usable

    def free_slots(self, busy: Counter[str], prefix: str) -> list[_Slot]:
        """Return the free slots; if there are none and we have no running tasks, wait for one.

        `busy` counts our running tasks by worker, and `prefix` is how their keys begin: the scheduler's information
        about them is outdated.
        """
        self.refresh()
        if not (slots := self._list_slots(busy, prefix)) and not busy:
            self.print_waiting("a free worker: all are running tasks of other drivers" if self._usable else "workers")
            while not slots:
                time.sleep(POLL_SECONDS)
                self.refresh()
                slots = self._list_slots(busy, prefix)
        return slots

    def print_waiting(self, what: str) -> None:
        """Say what the run waits for, and how to start more workers."""
        example = command("worker", cluster=self.address)
        print(f"waiting for {what}; start more with: {example}", file=sys.stderr, flush=True)

    def _list_slots(self, busy: Counter[str], prefix: str) -> list[_Slot]:
        others = Counter(
            address for address, keys in self._processing.items() for key in keys if not str(key).startswith(prefix)
        )
        return [
            slot
            for info, slot in self._slots()
            for _ in range(info["nthreads"] - busy[slot.address] - others[slot.address])
        ]

    def _slots(self) -> list[tuple[dict[str, Any], _Slot]]:
        """Dask's description of each usable worker, and one of its threads."""
        has_gpu = {address: bool(info["resources"].get("GPU")) for address, info in self._usable.items()}
        is_mixed = len(set(has_gpu.values())) == 2
        return [(info, _Slot(address, has_gpu[address], is_mixed)) for address, info in self._usable.items()]

    def _raise_disconnected(self) -> NoReturn:
        raise UserError(
            f"lost the connection to the scheduler at {self.address}; finished tasks are saved: restart it and its "
            f"workers, or omit {option('cluster')}, and run again"
        ) from None

    def _check_workers(self, new: dict[str, dict[str, Any]]) -> dict[str, str | None]:
        """Return why each of these workers cannot be used, or None."""
        packages = ("numpy", "scipy", "scikit-learn", "keras", keras_backend())
        versions: Any = self.client.get_versions(packages=packages)
        ours, scheduler = versions["client"]["packages"], versions["scheduler"]["packages"]
        if mismatch := _version_mismatch({name: ours[name] for name in SAME_VERSIONS}, scheduler):
            remedy = "install the same version there and restart it"
            raise UserError(f"the scheduler at {self.address} is incompatible: {mismatch}; {remedy}")
        reasons: dict[str, str | None] = {}
        for address, info in new.items():
            theirs = versions["workers"].get(address, {}).get("packages", {})
            mismatch = _version_mismatch({name: ours[name] for name in theirs}, theirs)
            remedy = "install the same version and restart it"
            reasons[address] = f"{mismatch}; {remedy}" if mismatch else _missing_memory(info)
        reasons |= self._check_sources([address for address, reason in reasons.items() if not reason])
        for address, reason in reasons.items():
            if reason:
                print(f"ignoring worker {new[address]['name']} at {address}: {reason}", file=sys.stderr)
        return reasons

    def _check_sources(self, addresses: list[str]) -> dict[str, str | None]:
        """Return which models' sources differ on each worker, or None."""
        reasons: dict[str, str | None] = dict.fromkeys(addresses)
        answers = self.client.run(_get_digests(), workers=addresses, on_error="return") if addresses else {}
        for address, theirs in answers.items():
            if isinstance(theirs, Exception):
                reasons[address] = f"it cannot import `competition` ({theirs}); start it with `{command('worker')}`"
            elif differing := sorted(name for name, digest in model_digests().items() if theirs.get(name) != digest):
                reasons[address] = f"its source of {', '.join(differing)} differs; update its clone and restart it"
        return reasons

    def _upload_function(self, function: TaskFunction) -> str:
        """Upload the function and its data sets to all workers, present and future; return the file's name."""
        buffer = io.BytesIO()
        packer = Packer(buffer)
        packer.dump(function)
        for dataset in packer.datasets:
            self._upload(f"{package_name(dataset)}.zip", partial(pack_dataset, dataset))
        name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()}.pickle"
        self._upload(name, buffer.getvalue)
        return name

    def _upload(self, name: str, read_content: Callable[[], bytes]) -> None:
        """Upload a file to all workers; Dask keeps it for those that join later."""
        if name in self._uploaded:
            return
        with scratch_folder() as folder, explain_write_errors(path := folder / name):
            path.write_bytes(read_content())
            plugin = UploadFile(str(path), load=False)
        plugin.idempotent = True  # another driver may have uploaded it
        self.client.register_plugin(plugin, name=name)
        self._uploaded.add(name)


class _ClusterPool:
    """The workers of a cluster, running one function."""

    def __init__(self, workers: ClusterWorkers, function: str) -> None:
        self._workers, self._client, self._function = workers, workers.client, function
        self._name = f"competition-{uuid.uuid4()}"  # the topic of its messages and the prefix of its keys
        self._numbers = count()
        self._has_warned = False
        self._busy: dict[str, tuple[Future[Any], str]] = {}  # key: (future, address of the worker)
        self._tasks: dict[str, Any] = {}  # by key; ended ones are kept, since their messages may still arrive
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._client.subscribe_topic(self._name, lambda event: self._messages.put(pickle.loads(event[1])))

    def idle(self) -> list[_Slot]:
        """Return the free slots, including those of workers that joined."""
        return self._workers.free_slots(Counter(address for _, address in self._busy.values()), self._name)

    def submit(self, worker: _Slot, task: Any) -> None:
        """Start the task on this worker and no other."""
        key = f"{self._name}-{next(self._numbers)}"
        request = pickle.dumps((self._function, self._name, key, task))
        with warnings.catch_warnings(action="ignore"):  # of Dask, about requests with images: they are sent only once
            future = self._client.submit(_run_request(), request, key=key, workers=[worker.address], pure=False)
        self._busy[key], self._tasks[key] = (future, worker.address), task
        future.add_done_callback(lambda done: self._ended.put(done.key))

    def wait(self) -> list[tuple[Any, Any]]:
        """Return the tasks that ended with their outcomes, including those whose worker left."""
        if not self._busy and not self._has_warned:
            self._has_warned = True
            self._workers.print_waiting("a worker that fits the tasks that are left: other drivers use them all")
        outcomes = []
        with suppress(queue.Empty):
            key = self._ended.get(timeout=POLL_SECONDS)
            while True:
                if key in self._busy:
                    outcomes.append((self._tasks[key], self._get_outcome(*self._busy.pop(key))))
                key = self._ended.get_nowait()
        if self._busy:
            self._workers.refresh()
            for key, (future, address) in list(self._busy.items()):
                if address not in self._workers.addresses:
                    del self._busy[key]
                    future.release()
                    outcomes.append((self._tasks[key], WorkerDied(Failure(f"lost the worker at {address}", ""))))
        return outcomes

    def messages(self) -> Iterator[tuple[Any, Any]]:
        """Yield (task, payload) emitted since the last call; Dask delivers a task's messages before its result."""
        while not self._messages.empty():
            key, payload = self._messages.get()
            if key in self._tasks:
                yield self._tasks[key], payload

    def close(self) -> None:
        """Release the running tasks; their workers notice that nobody waits for them.

        Futures are released, not cancelled: the scheduler reports a cancellation to every client, even to one that is
        still connecting and fails if anything but a greeting arrives.
        """
        with suppress(OSError, TimeoutError, CommClosedError):
            if self._client.status == "running":
                self._client.unsubscribe_topic(self._name)
                for future, _ in self._busy.values():
                    future.release()

    def _get_outcome(self, future: Future[Any], address: str) -> Any:
        """Return the result, a Failure or WorkerDied."""
        end = time.monotonic() + RESULT_TIMEOUT
        try:
            while True:
                try:
                    return future.result(timeout=TIMEOUT)
                except TimeoutError:
                    self._workers.refresh()
                    if address not in self._workers.addresses or time.monotonic() > end:
                        raise
        except Exception as error:  # from Dask, since what a task raises arrives as a Failure
            self._workers.refresh()
            reason = f"the worker did not respond ({type(error).__name__}: {error})".splitlines()[0]
            return WorkerDied(Failure(reason, ""))


class _Client(Client):
    """A client that closes itself when it fails to connect; left to the garbage collector, it could deadlock.

    The collector may run while Dask holds a lock that closing a client waits for.
    """

    def __init__(self, address: str, loop: IOLoop) -> None:
        try:
            with warnings.catch_warnings(action="ignore"):
                super().__init__(address, loop=loop, timeout=TIMEOUT, set_as_default=False)
        except BaseException:
            self.close()
            raise


@contextmanager
def _event_loop() -> Iterator[IOLoop]:
    """Run an event loop in its own thread until the block ends."""
    loop = IOLoop(make_current=False)
    thread = threading.Thread(target=loop.start, name="Dask client", daemon=True)
    thread.start()
    try:
        started = threading.Event()
        loop.add_callback(started.set)
        started.wait()
        yield loop
    finally:
        loop.add_callback(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    """Connect a client to the scheduler; it is closed when the block ends."""
    with _event_loop() as loop:
        try:
            client = _Client(address, loop)
        except (OSError, TimeoutError, ValueError, AssertionError) as error:
            remedy = f"start one with `{command('scheduler')}`, or correct the address"
            raise UserError(f"no Dask scheduler answers at {address} ({error}); {remedy}") from None
        with closing(client):
            yield client


def _version_mismatch(ours: dict[str, str], theirs: dict[str, str]) -> str | None:
    """Describe the first package whose version differs, or None; for Python, major and minor version have to agree."""
    for name, version in ours.items():
        expected, actual = (
            text and ".".join(text.split(".")[:2]) if name == "python" else text for text in (version, theirs.get(name))
        )
        if expected != actual:
            return f"{name} {actual} there, {expected} here" if actual else f"no {name} there, {expected} here"
    return None


def _missing_memory(info: dict[str, Any]) -> str | None:
    """Describe a worker's memory limit if its tasks need more, or None."""
    needed = WORKER_MEMORY * info["nthreads"]
    if info["memory_limit"] and info["memory_limit"] < needed:
        limit = f"{info['memory_limit'] / 1e9:.1f} GB"
        remedy = f"start fewer workers there, with {option('jobs')}"
        return f"it has {limit} of memory, but its tasks may need {needed / 1e9:.1f} GB; {remedy}"
    return None


# The scheduler does not need this package, so nothing that passes through it may refer to one of its modules: nested
# functions are pickled by value.
def _get_digests() -> Callable[[], dict[str, str]]:
    def get_digests() -> dict[str, str]:
        from competition.models.source import model_digests

        return model_digests()

    return get_digests


def _run_request() -> Callable[[bytes], Any]:
    def run_request(request: bytes) -> Any:
        from competition.workers.remote import run_task

        return run_task(request)

    return run_request
