"""A process that imports Keras while this one does everything else, to predict a few images sooner."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import cpu_count
from joblib.externals.loky.process_executor import ProcessPoolExecutor

from competition.workers.machine import QUIET_LIBRARIES, SINGLE_THREAD, silenced_stderr

IGNORE_CTRL_C = signal.SIGINT, signal.SIG_IGN  # for the other process, which this one stops


@contextmanager
def open_network_process(jobs: int | None) -> Iterator[ProcessPoolExecutor | None]:
    """Start the process; None if only one process may work at a time.

    Importing Keras takes more than half of the time of predicting a few images.
    """
    if min(jobs or cpu_count(), cpu_count()) == 1:
        yield None
        return
    environment = SINGLE_THREAD | QUIET_LIBRARIES
    executor = ProcessPoolExecutor(1, env=environment, initializer=signal.signal, initargs=IGNORE_CTRL_C)
    try:
        executor.submit(_import_keras)
        yield executor
    finally:
        executor.shutdown(kill_workers=True)


def _import_keras() -> None:
    with silenced_stderr():
        import keras  # noqa: F401
