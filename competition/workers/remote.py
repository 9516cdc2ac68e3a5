"""What a cluster's worker does: it performs errands, which are sent to it as bytes."""

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

from competition.data.dataset import Dataset, unpacked
from competition.workers.base import Crew, Work
from competition.workers.local import LocalWorkers


class Packer(pickle.Pickler):
    """Leaves data sets out, which travel apart and once."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.datasets: list[Dataset] = []

    def persistent_id(self, thing: Any) -> str | None:
        """A data set's digest stands in its place."""
        if not isinstance(thing, Dataset):
            return None
        self.datasets.append(thing)
        return thing.digest


class Unpacker(pickle.Unpickler):
    """Puts in the data sets that lie beside the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.BytesIO(path.read_bytes()))
        self.folder = path.parent

    def persistent_load(self, digest: str) -> Dataset:
        """The data set of this digest."""
        return unpacked(self.folder / f"{digest}.zip")


def perform(errand: bytes) -> Any:
    """In a worker: the result, a Failure or a Death, of a process of its own, which is as those of a single machine.

    In the worker's own process nothing could be promised: Dask's threads draw from the random numbers of Python that
    Keras draws from.
    """
    worker = get_worker()
    name, topic, key, task = pickle.loads(errand)

    def is_wanted() -> bool:
        is_ending = worker.status in (Status.closing, Status.closed)
        return not is_ending and worker.state.tasks[key].state == "executing"

    def pass_on(crew: Crew) -> None:
        for _, *said in crew.heard():
            worker.log_event(topic, pickle.dumps((key, said)))

    with _crew_of_one(Path(worker.local_directory) / name) as crew:
        crew.begin(crew.idle()[0], task)
        while not (outcomes := crew.ended()):
            pass_on(crew)
            if not is_wanted():
                raise InterruptedError("nobody waits for it any more")
        pass_on(crew)
    ((_, outcome),) = outcomes
    return outcome


_kept: dict[Path, list[tuple[ExitStack, Crew]]] = {}
_opening = Lock()


@contextmanager
def _crew_of_one(work: Path) -> Iterator[Crew]:
    """A process that is ready for this work, kept for the next task of it; where something goes wrong it ends."""
    for other in _kept.keys() - {work}:
        for stack, _ in _kept.pop(other):
            stack.close()
    if kept := _kept.get(work):
        stack, crew = kept.pop()
    else:
        current_process().daemon = False  # a daemon, as Dask's nannies make their workers, may start no processes
        stack = ExitStack()
        crew = stack.enter_context(LocalWorkers(1).crew(_opened(work)))
    try:
        yield crew
    except BaseException:
        stack.close()
        raise
    _kept.setdefault(work, []).append((stack, crew))


def _opened(work: Path) -> Work:
    with _opening:  # two threads of a worker may come at once
        return _unpacked(work)


@cache
def _unpacked(work: Path) -> Work:
    return Unpacker(work).load()
