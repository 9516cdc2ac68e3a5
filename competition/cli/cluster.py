"""The command that adds this machine to a cluster."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen
from typing import Any

from competition.cli.servers import wait_for_server
from competition.errors import UserError, command, missing_extra
from competition.workers.dependent import start_dependent

POLL_SECONDS = 0.5


def scheduler() -> None:
    """Run a Dask scheduler until Ctrl-C."""
    if not find_spec("distributed"):
        raise missing_extra("Dask", "cluster")
    root = {"PYTHONPATH": _package_path()}
    process = start_dependent("dask", "scheduler", env=os.environ | root, start_new_session=True)
    wait_for_server(process, "the scheduler")


def worker(cluster: str | None, jobs: int | None) -> None:
    """Run cluster workers on the cores and GPUs of this machine, until Ctrl-C."""
    from competition.models.gpus import DETECTED, describe_gpus, usable_gpus
    from competition.workers.local import LocalWorkers
    from competition.workers.machine import QUIET_LIBRARIES, SINGLE_THREAD

    if not cluster:
        example = command("worker", cluster="tcp://HOST:8786")
        raise UserError(f"the scheduler's address is missing; run `{example}`")
    if not find_spec("distributed"):
        raise missing_extra("Dask", "cluster")
    local = LocalWorkers(jobs)
    one_gpu, cores = ["--nworkers", "1", "--resources", "GPU=1"], ["--nworkers", str(local.cpu_workers)]
    groups = [(gpu.name, [gpu], one_gpu) for gpu in usable_gpus() if gpu.name in local.gpus] + [("-1", [], cores)]
    environment = os.environ | SINGLE_THREAD | QUIET_LIBRARIES | {"PYTHONPATH": _package_path()}
    processes = [
        start_dependent(
            *("dask", "worker", cluster, "--nthreads", "1", *arguments),
            env=environment | {"CUDA_VISIBLE_DEVICES": visible, DETECTED: describe_gpus(gpus)},
            start_new_session=True,  # Ctrl-C then reaches only this process, which ends the others in order
        )
        for visible, gpus, arguments in groups
    ]
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    failed = 0
    try:
        while any(process.poll() is None for process in processes) and not _first_failure(processes):
            time.sleep(POLL_SECONDS)
        failed = _first_failure(processes)
    except KeyboardInterrupt:
        print("\ninterrupted; other workers are retrying the tasks that were running here", file=sys.stderr)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    if failed:
        raise UserError(f"a Dask worker ended with exit status {failed}; its output above says why")


def _first_failure(processes: Sequence[Popen[Any]]) -> int:
    """The exit status of the first process that has failed; 0 if none has."""
    return next(filter(None, (process.poll() for process in processes)), 0)


def _package_path() -> str:
    """PYTHONPATH for processes that import this package, which may not be installed."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
