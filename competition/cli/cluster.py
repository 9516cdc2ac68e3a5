"""The command that adds this machine to a cluster."""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from competition.cli.servers import wait_for_server
from competition.errors import UserError, command, missing_extra
from competition.workers.dependent import start_dependent


def scheduler() -> None:
    """Run a Dask scheduler until Ctrl-C."""
    if not find_spec("distributed"):
        raise missing_extra("Dask", "cluster")
    root = {"PYTHONPATH": _package_path()}
    process = start_dependent("dask", "scheduler", env=os.environ | root, start_new_session=True)
    wait_for_server(process, "the scheduler")


def worker(cluster: str | None, jobs: int | None) -> None:
    """Run cluster workers on the cores and GPUs of this machine, until Ctrl-C."""
    from competition.workers.local import LocalWorkers
    from competition.workers.machine import QUIET_LIBRARIES, SINGLE_THREAD

    if not cluster:
        example = command("worker", cluster="tcp://HOST:8786")
        raise UserError(f"the scheduler's address is missing; run `{example}`")
    if not find_spec("distributed"):
        raise missing_extra("Dask", "cluster")
    local = LocalWorkers(jobs)
    groups = [(gpu, ["--nworkers", "1", "--resources", "GPU=1"]) for gpu in local.gpus]
    groups.append(("-1", ["--nworkers", str(local.cpu_workers)]))
    environment = os.environ | SINGLE_THREAD | QUIET_LIBRARIES | {"PYTHONPATH": _package_path()}
    processes = [
        start_dependent(
            *("dask", "worker", cluster, "--nthreads", "1", *arguments),
            env=environment | {"CUDA_VISIBLE_DEVICES": gpu},
            start_new_session=True,  # Ctrl-C then reaches only this process, which ends the others in order
        )
        for gpu, arguments in groups
    ]
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        print("\ninterrupted; other workers are retrying the tasks that were running here", file=sys.stderr)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _package_path() -> str:
    """PYTHONPATH for processes that import this package, which may not be installed."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
