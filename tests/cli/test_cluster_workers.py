"""The Dask workers that `make worker` starts."""

import signal

import pytest

from competition.cli import cluster
from competition.errors import UserError
from competition.models import gpus
from competition.models.gpus import DETECTED, Gpu
from competition.workers import local


class Process:
    """A process that ends with this status or, if that is None, when it is terminated."""

    def __init__(self, status):
        self.status = status

    def poll(self):
        return self.status

    def wait(self):
        return self.status

    def terminate(self):
        self.status = self.status or 0


@pytest.fixture
def start_workers(monkeypatch):
    """Start the workers of a machine with two GPUs, whose processes end so; returns arguments and environments."""

    def start(*statuses):
        pair, remaining, started = (Gpu("0", 8.0), Gpu("1", 7.5)), list(statuses), []
        for module in (gpus, local):
            monkeypatch.setattr(module, "usable_gpus", lambda: pair)

        def start_dependent(*arguments, env, **options):
            started.append((arguments, env))
            return Process(remaining.pop(0))

        monkeypatch.setattr(cluster, "start_dependent", start_dependent)
        cluster.worker("tcp://host:8786", None)
        return started

    handler = signal.getsignal(signal.SIGHUP)
    yield start
    signal.signal(signal.SIGHUP, handler)


def test_each_worker_of_a_cluster_sees_one_gpu_or_none(start_workers):
    started = start_workers(0, 0, 0)
    seen = [(env["CUDA_VISIBLE_DEVICES"], env[DETECTED]) for _, env in started]
    assert seen == [("0", "0=8.0"), ("1", "1=7.5"), ("-1", "")]
    assert ["GPU=1" in arguments for arguments, _ in started] == [True, True, False]


@pytest.mark.parametrize("others", [None, 0])
def test_a_worker_that_fails_is_an_error(others, start_workers):
    with pytest.raises(UserError, match="a Dask worker ended with exit status 1; its output above says why"):
        start_workers(others, 1, others)
