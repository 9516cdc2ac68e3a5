"""More machines."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from competition.errors import Problem


def worker(options: argparse.Namespace) -> None:
    """Serve a cluster with this machine's cores and GPUs, until Ctrl-C."""
    from importlib.util import find_spec

    from competition.workers.local import LocalWorkers
    from competition.workers.machine import FRUGAL, ONE_THREAD

    if not options.cluster:
        raise Problem("no scheduler is named; run `make worker CLUSTER=tcp://HOST:8786`")
    if not find_spec("distributed"):
        raise Problem("a cluster needs Dask; run `make worker`, or: pip install -r requirements-cluster.txt")
    ours = LocalWorkers(options.jobs)
    dask = [sys.executable, "-m", "dask", "worker", options.cluster, "--nthreads", "1"]
    started = [(gpu, ["--nworkers", "1", "--resources", "GPU=1"]) for gpu in ours.gpus]
    started.append(("-1", ["--nworkers", str(max(ours.jobs - len(ours.gpus), 1))]))
    root = str(Path(__file__).parents[2])
    package = {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    processes = [
        subprocess.Popen(
            [*dask, *arguments],
            env=os.environ | ONE_THREAD | FRUGAL | package | {"CUDA_VISIBLE_DEVICES": gpu},
            start_new_session=True,  # Ctrl-C is for us, who end them in order
        )
        for gpu, arguments in started
    ]
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        print("\nstopped; what was in hand here is done elsewhere", file=sys.stderr)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
