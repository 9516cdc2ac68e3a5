"""More machines."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from competition.problem import Problem
from competition.session import open_store, workers_of


def worker(options: argparse.Namespace) -> None:
    """Serve a cluster with this machine's cores and GPUs, until Ctrl-C."""
    from importlib.util import find_spec

    from competition.compute import FRUGAL, ONE_THREAD, LocalWorkers

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


def rehearse(options: argparse.Namespace) -> None:
    """Hand out tasks that sleep, with real payloads, to see what a cluster's driver can serve."""
    from competition.models import Member
    from competition.rehearsal import rehearse

    store = open_store(options)
    with workers_of(options) as workers:
        found = rehearse(workers, store.dataset, store.folds, options.tasks, options.asleep)
    print(f"{found.tasks:,} tasks of {found.asleep:g} s on {found.workers} workers took {found.seconds:.1f} s")
    lost, handling = 1000 * found.lost, 1000 * found.handling
    print(f"each cost its worker {lost:.0f} ms beside its sleep, and the driver {handling:.1f} ms")
    print(f"each brought back {found.received / 1e6:.2f} MB; the driver held {found.memory / 1e6:.0f} MB at most")
    usual = Member.named("quick").spec.seconds
    print(f"one driver keeps {found.most(usual):,} workers busy with tasks of {usual:.0f} s, such as a fold of quick")
