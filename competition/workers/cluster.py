"""Where tasks run instead of here: the workers of a Dask scheduler, on any number of machines.

A worker needs this package and nothing else: what is to be done and on which pixels is sent to each once, as files, and
results come back as predictions. The scheduler needs Dask alone, so that what passes through it is bytes. Each task is
given to one worker by name, as on one machine; Dask carries it there, tells who comes and who goes, and starts workers
again that died.
"""

import hashlib
import io
import logging
import pickle
import queue
import sys
import tempfile
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
from pathlib import Path
from typing import Any, NoReturn, Self

from distributed import Client, Future
from distributed.comm import CommClosedError
from distributed.diagnostics.plugin import UploadFile
from tornado.ioloop import IOLoop

from competition.data.dataset import packed
from competition.errors import Problem
from competition.models.source import keras_backend, sources
from competition.workers.base import Death, Failure, Work, Workers, wants_gpu
from competition.workers.machine import MEMORY
from competition.workers.remote import Packer

PATIENCE = 10.0  # seconds for a scheduler or a worker to answer
LOOK_AROUND = 0.5  # seconds to wait for something to end, or for somebody to come
LOOKING = 0.1  # of the time at most; a look at thousands of workers takes a while
SENT_ALIKE = ("python", "dask", "distributed")  # or what is sent cannot be read


@dataclass(frozen=True)
class _ClusterWorker:
    """A place for one task, with a worker that Dask knows by its address."""

    address: str
    has_gpu: bool
    among_both: bool  # whether there are workers with a GPU and others

    def fits(self, task: Any) -> bool:
        """Where there are both, networks wait for the GPUs, and the rest leaves them to these."""
        return not self.among_both or wants_gpu(task) == self.has_gpu


class ClusterWorkers(Workers):
    """All workers of a scheduler that are like us, or as many as are asked for; they may come and go."""

    attempts = 3

    def __init__(self, address: str, jobs: int | None = None) -> None:
        self.address, self._most = address, jobs or sys.maxsize
        self._unfit: dict[str, str | None] = {}  # address: why it gets no tasks, or None
        self._fit: dict[str, dict[str, Any]] = {}  # what is told of those that are there and fit
        self.there: set[str] = set()  # at the last look, fit or not
        self._processing: dict[str, tuple[str, ...]] = {}  # at the last look: the keys of the tasks of each
        self._next_look = 0.0
        self._sent: set[str] = set()

    def __enter__(self) -> Self:
        """Connect to the scheduler and look who is there."""
        # What goes wrong is told by us; versions are compared below.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        with ExitStack() as stack:
            self.client = stack.enter_context(_connected(self.address))
            self.look()
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def jobs(self) -> int:
        """Those that were there at the last look, one at the least, who may yet come."""
        return max(1, min(self._most, sum(told["nthreads"] for told in self._fit.values())))

    @contextmanager
    def crew(self, work: Work) -> "Iterator[_ClusterCrew]":
        """The workers as they come and go, each told what the work is."""
        crew = _ClusterCrew(self, self._send(work))
        try:
            yield crew
        finally:
            crew.dismiss()

    def look(self) -> None:
        """See who is there, fit to be used, and at work; why others are not fit is told once."""
        try:
            if self.client.status != "running":
                raise CommClosedError
            if (began := time.monotonic()) < self._next_look:
                return
            there = self.client.scheduler_info()["workers"]
            self._processing = self.client.processing()
            self._next_look = time.monotonic() + (time.monotonic() - began) * (1 / LOOKING - 1)
            if new := {address: told for address, told in there.items() if address not in self._unfit}:
                self._unfit |= self._examined(new)
        except (OSError, TimeoutError):
            self._raise_gone()
        self.there = set(there)
        running = {address: told for address, told in there.items() if told["status"] == "running"}
        fit = {address: told for address, told in running.items() if not self._unfit[address]}
        if running and not fit:
            raise Problem(f"no worker of {self.address} can be used; mend that, and run again")
        self._fit = fit

    def idle(self, busy: Counter[str], ours: str) -> list[_ClusterWorker]:
        """Places where nobody's task is; if there are none and none of ours is at work, one is waited for.

        `busy` says how many of our tasks each worker has, `ours` how their keys begin: what the scheduler told of them
        at the last look is not true any more.
        """
        self.look()
        if not (places := self._places(busy, ours)) and not busy:
            whom = "workers, all of which are at work for others" if self._fit else "workers"
            start = f"make worker CLUSTER={self.address}"
            print(f"waiting for {whom}; more are started by: {start}", file=sys.stderr, flush=True)
            while not places:
                time.sleep(LOOK_AROUND)
                self.look()
                places = self._places(busy, ours)
        return places[: max(0, self._most - busy.total())]

    def _places(self, busy: Counter[str], ours: str) -> list[_ClusterWorker]:
        has_gpu = {address: bool(told["resources"].get("GPU")) for address, told in self._fit.items()}
        both = len(set(has_gpu.values())) == 2
        others = Counter(
            address for address, keys in self._processing.items() for key in keys if not str(key).startswith(ours)
        )
        return [
            _ClusterWorker(address, has_gpu[address], both)
            for address, told in self._fit.items()
            for _ in range(told["nthreads"] - busy[address] - others[address])
        ]

    def _raise_gone(self) -> NoReturn:
        raise Problem(
            f"the scheduler at {self.address} is gone; what is finished is kept: start it and its workers, or leave "
            "CLUSTER out, and run again"
        ) from None

    def _examined(self, new: dict[str, dict]) -> dict[str, str | None]:
        """Why each worker cannot be used, or None."""
        found: Any = self.client.get_versions(packages=("numpy", "scipy", "scikit-learn", "keras", keras_backend()))
        ours, scheduler = found["client"]["packages"], found["scheduler"]["packages"]
        if wrong := _difference({name: ours[name] for name in SENT_ALIKE}, scheduler):
            raise Problem(f"the scheduler at {self.address} has {wrong}; install what we have, and start it again")
        reasons: dict[str, str | None] = {}
        for address, told in new.items():
            versions = found["workers"].get(address, {}).get("packages", {})
            reasons[address] = _difference({name: ours[name] for name in versions}, versions) or _shape(told)
        alike = [address for address, reason in reasons.items() if not reason]
        answers = self.client.run(_asking_for_sources(), workers=alike, on_error="return") if alike else {}
        for address, theirs in answers.items():
            if isinstance(theirs, Exception):
                reasons[address] = f"no package `competition` ({theirs}); start it with `make worker` in a clone"
            elif differing := sorted(name for name, digest in sources().items() if theirs.get(name) != digest):
                reasons[address] = f"another source of {', '.join(differing)}; bring it up to date, and start it again"
        for address, reason in reasons.items():
            if reason:
                print(f"worker {new[address]['name']} at {address} gets no tasks: it has {reason}", file=sys.stderr)
        return reasons

    def _send(self, work: Work) -> str:
        """Leave the work with every worker that is there or comes, its data beside it; the name of its file."""
        buffer = io.BytesIO()
        packer = Packer(buffer)
        packer.dump(work)
        for dataset in packer.datasets:
            self._send_file(f"{dataset.digest}.zip", partial(packed, dataset))
        name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()}.work"
        self._send_file(name, buffer.getvalue)
        return name

    def _send_file(self, name: str, content: Callable[[], bytes]) -> None:
        """Dask keeps it for workers that come later."""
        if name in self._sent:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content())
            plugin = UploadFile(str(path), load=False)
        plugin.idempotent = True  # another driver may have sent it
        self.client.register_plugin(plugin, name=name)
        self._sent.add(name)


class _ClusterCrew:
    """The workers of a cluster, while one kind of work is done."""

    def __init__(self, workers: ClusterWorkers, work: str) -> None:
        self._workers, self._client, self._work = workers, workers.client, work
        self._name = f"competition-{uuid.uuid4()}"  # its topic, and how its tasks' keys begin
        self._numbers = count()
        self._busy: dict[str, tuple[Future, str]] = {}  # key: (future, its worker's address)
        self._tasks: dict[str, Any] = {}  # by key, those that are done included, as words may yet come
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[tuple[str, tuple]] = queue.SimpleQueue()
        self._client.subscribe_topic(self._name, lambda event: self._said.put(pickle.loads(event[1])))

    def idle(self) -> list[_ClusterWorker]:
        """Places for a task, newcomers' included."""
        return self._workers.idle(Counter(address for _, address in self._busy.values()), self._name)

    def begin(self, worker: _ClusterWorker, task: Any) -> None:
        """Send it there, and nowhere else."""
        key = f"{self._name}-{next(self._numbers)}"
        errand = pickle.dumps((self._work, self._name, key, task))
        future = self._client.submit(_performing(), errand, key=key, workers=[worker.address], pure=False)
        self._busy[key], self._tasks[key] = (future, worker.address), task
        future.add_done_callback(lambda done: self._done.put(done.key))

    def ended(self) -> list[tuple[Any, Any]]:
        """What has ended; a task whose worker is gone has, too."""
        outcomes = []
        with suppress(queue.Empty):
            key = self._done.get(timeout=LOOK_AROUND)
            while True:
                if key in self._busy:
                    outcomes.append((self._tasks[key], self._outcome(self._busy.pop(key)[0])))
                key = self._done.get_nowait()
        if self._busy:
            self._workers.look()
            for key, (future, address) in list(self._busy.items()):
                if address not in self._workers.there:
                    del self._busy[key]
                    future.release()
                    outcomes.append((self._tasks[key], Death(Failure(f"its worker at {address} is gone", ""))))
        return outcomes

    def heard(self) -> Iterator[tuple]:
        """What the workers said; it comes the same way as that they are done, and earlier."""
        while not self._said.empty():
            key, said = self._said.get()
            if key in self._tasks:
                yield self._tasks[key], *said

    def dismiss(self) -> None:
        """Let go of what runs; its workers look whether it is still wanted.

        Futures are released, not cancelled: the scheduler reports a cancellation to every client, even to one that is
        still connecting and fails if anything but a greeting arrives.
        """
        with suppress(OSError, TimeoutError, CommClosedError):
            if self._client.status == "running":
                self._client.unsubscribe_topic(self._name)
                for future, _ in self._busy.values():
                    future.release()

    def _outcome(self, future: Future) -> Any:
        """The result, a Failure, or the Death of who should have told it."""
        try:
            return future.result(timeout=PATIENCE)
        except Exception as error:  # of Dask's: what a task raises is a Failure
            self._workers.look()
            return Death(Failure(f"its worker gave no answer ({type(error).__name__}: {error})".splitlines()[0], ""))


class _Client(Client):
    """A client that closes itself where it fails to connect; left to the garbage collector, it could stop the program.

    The collector may run while Dask holds a lock that closing a client waits for.
    """

    def __init__(self, address: str, loop: IOLoop) -> None:
        try:
            with warnings.catch_warnings(action="ignore"):
                super().__init__(address, loop=loop, timeout=PATIENCE, set_as_default=False)
        except BaseException:
            self.close()
            raise


@contextmanager
def _event_loop() -> Iterator[IOLoop]:
    """An event loop that runs in a thread of its own until the block ends."""
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
def _connected(address: str) -> Iterator[Client]:
    """A client of the scheduler, closed when the block ends."""
    with _event_loop() as loop:
        try:
            client = _Client(address, loop)
        except (OSError, TimeoutError, ValueError, AssertionError) as error:
            remedy = "start one with `make scheduler`, or look whether the address is right"
            raise Problem(f"no Dask scheduler answers at {address} ({error}); {remedy}") from None
        with closing(client):
            yield client


def _difference(ours: dict[str, str], theirs: dict[str, str]) -> str | None:
    """The first package whose version is another, in words; of Python, the first two numbers have to agree."""
    for name, version in ours.items():
        wanted, found = (
            told and ".".join(told.split(".")[:2]) if name == "python" else told for told in (version, theirs.get(name))
        )
        if wanted != found:
            return f"{name} {found or 'not at all'}, not {wanted} as here"
    return None


def _shape(told: dict[str, Any]) -> str | None:
    """What is wrong with how a worker was started, in words."""
    least = MEMORY * told["nthreads"]
    if told["memory_limit"] and told["memory_limit"] < least:
        has = f"{told['memory_limit'] / 1e9:.1f} GB"
        return f"{has} of memory, of which its tasks may take {least / 1e9:.1f}; start fewer on its machine, with JOBS="
    return None


# What goes through the scheduler names nothing of ours, which it need not have: functions inside of functions are sent
# as what they do.
def _asking_for_sources() -> Callable[[], dict[str, str]]:
    def ask() -> dict[str, str]:
        from competition.models.source import sources

        return sources()

    return ask


def _performing() -> Callable[[bytes], Any]:
    def begin(errand: bytes) -> Any:
        from competition.workers.remote import perform

        return perform(errand)

    return begin
