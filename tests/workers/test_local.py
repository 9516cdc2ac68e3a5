"""Real worker processes; they import the task functions below from this module."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT
from joblib import cpu_count

from competition.errors import DiskError
from competition.models.gpus import Gpu
from competition.workers import local
from competition.workers.base import take_in_order
from competition.workers.events import Emitted, Failure, Retried, Started, ignore_event
from competition.workers.local import LocalWorkers


def square(task, emit):
    emit((1, 1))
    return task * task


def raise_on_two(task, emit):
    if task == 2:
        raise ValueError("no twos\nand more")
    return task


def kill_worker_on_two(task, emit):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def kill_worker_once(task, emit, marker):
    if task == 2 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def get_pid_after_kill(task, emit, marker):
    while task == 2 and not Path(marker).exists():
        time.sleep(0.01)
    return os.getpid()


def thread_limits(task, emit):
    import numpy  # noqa: F401  # loads the thread pools
    from threadpoolctl import threadpool_info

    return os.environ["TF_NUM_INTRAOP_THREADS"], [pool["num_threads"] for pool in threadpool_info()]


def emit_200_numbers(task, emit):
    for number in range(200):
        emit(number)
    return task


def emit_large(task, emit, size):
    emit(bytes(size))
    return task


def die_while_sending(task, emit):
    """Die in the middle of a message that is larger than a pipe's buffer."""

    def kill_soon():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    emit("before")
    threading.Thread(target=kill_soon).start()
    for _ in range(10_000):
        emit(bytes(10_000_000))


def test_messages_arrive_in_order_and_before_the_result():
    payloads = {task: [] for task in range(20)}

    def on_event(event):
        if isinstance(event, Emitted):
            payloads[event.task].append(event.payload)

    for task, _ in LocalWorkers(2).run(emit_200_numbers, take_in_order(list(payloads)), on_event):
        assert payloads[task] == list(range(200))


def test_there_are_never_more_workers_than_cores():
    assert LocalWorkers(10_000, gpus=[]).jobs == LocalWorkers(gpus=[]).jobs == cpu_count()


def test_a_worker_that_dies_while_idle_is_replaced(tmp_path):
    workers = LocalWorkers(1)
    results = []
    for task, pid in workers.run(
        partial(get_pid_after_kill, marker=tmp_path / "killed"), take_in_order(range(3)), ignore_event
    ):
        results.append(pid)
        if task == 1:  # the worker has task 2 or is about to get it; in both cases task 2 must be retried
            os.kill(pid, signal.SIGKILL)
            (tmp_path / "killed").touch()
    assert len(results) == 3 and results[0] == results[1] != results[2]


def test_each_task_yields_its_result_and_events():
    events = []
    results = dict(LocalWorkers(2).run(square, take_in_order(range(6)), events.append))
    assert results == {task: task * task for task in range(6)}
    for task in range(6):
        assert [event for event in events if event.task == task] == [Started(task), Emitted(task, (1, 1))]


def test_a_task_that_raises_fails_alone_with_its_traceback():
    results = dict(LocalWorkers(2).run(raise_on_two, take_in_order(range(4)), ignore_event))
    failure = results.pop(2)
    assert isinstance(failure, Failure) and failure.reason == "ValueError: no twos" and "and more" in failure.details
    assert results == {0: 0, 1: 1, 3: 3}


def test_a_task_that_kills_its_worker_fails_alone():
    events = []
    results = dict(LocalWorkers(2).run(kill_worker_on_two, take_in_order(range(5)), events.append))
    assert "the worker died (" in results[2].reason and "SIGKILL" in results[2].reason
    assert events.count(Started(2)) == 2
    assert [event.task for event in events if isinstance(event, Retried)] == [2]
    assert {task: results[task] for task in (0, 1, 3, 4)} == {0: 0, 1: 1, 3: 3, 4: 4}


def test_a_task_is_retried_after_its_worker_died(tmp_path):
    function = partial(kill_worker_once, marker=str(tmp_path / "died"))
    assert dict(LocalWorkers(1).run(function, take_in_order(range(4)), ignore_event)) == {0: 0, 1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_a_message_of_any_size_arrives_whole(size):
    events = []
    assert dict(LocalWorkers(1).run(partial(emit_large, size=size), take_in_order([0]), events.append)) == {0: 0}
    assert events == [Started(0), Emitted(0, bytes(size))]


def test_a_worker_that_dies_while_sending_does_not_block_the_driver():
    """The driver must not wait for the rest of the message, nor deliver a part of it."""
    events = []
    ((_, failure),) = LocalWorkers(1).run(die_while_sending, take_in_order([0]), events.append)
    assert isinstance(failure, Failure) and "SIGKILL" in failure.reason
    payloads = [event.payload for event in events if isinstance(event, Emitted)]
    assert payloads.count("before") == LocalWorkers.max_attempts
    assert {len(payload) for payload in payloads if payload != "before"} <= {10_000_000}


def test_a_worker_has_one_thread():
    ((_, (tensorflow, pools)),) = LocalWorkers(1).run(thread_limits, take_in_order([0]), ignore_event)
    assert tensorflow == "1" and set(pools) == {1}


@dataclass(frozen=True)
class GpuTask:
    """A task that may want a GPU."""

    number: int
    wants_gpu: bool


def visible_gpu(task, emit):
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_each_gpu_has_one_worker_and_runs_only_tasks_that_want_it():
    tasks = [GpuTask(number, wants_gpu=number % 2 == 0) for number in range(6)]
    results = dict(LocalWorkers(2, gpus=["3"]).run(visible_gpu, take_in_order(tasks), ignore_event))
    assert [results[task] for task in tasks] == ["3", "-1", "3", "-1", "3", "-1"]


@pytest.mark.parametrize(("jobs", "gpus", "count"), [(1, 0, 1), (1, 2, 2), (2, 2, 3), (2, 1, 2)])
def test_there_are_as_many_workers_as_are_announced(jobs, gpus, count):
    workers = LocalWorkers(jobs, [str(number) for number in range(gpus)])
    assert workers.jobs == count and workers.cpu_workers >= 1 and len(workers.gpus) == min(gpus, jobs)
    with workers.open_pool(square) as pool:
        assert len(pool.idle()) == count


@pytest.mark.parametrize(("gpus", "visible"), [((), "-1"), ((Gpu("3", 8.0), Gpu("4", 8.0)), "3")])
def test_a_single_worker_runs_all_tasks_with_a_gpu_if_there_is_one(gpus, visible, monkeypatch):
    monkeypatch.setattr(local, "usable_gpus", lambda: gpus)
    workers = LocalWorkers.single()
    assert workers.jobs == 1
    with workers.open_pool(visible_gpu) as pool:
        for number in range(2):
            (worker,) = pool.idle()
            pool.submit(worker, GpuTask(number, wants_gpu=bool(number)))
            while not (outcomes := pool.wait()):
                pass
            assert outcomes == [(GpuTask(number, wants_gpu=bool(number)), visible)]


class Unreadable:
    """A task that no worker can read."""

    def __reduce__(self):
        return int, ("no number",)


def test_a_task_that_cannot_be_read_fails_alone():
    unreadable = Unreadable()
    results = dict(LocalWorkers(2).run(square, take_in_order([2, unreadable, 3, 4]), ignore_event))
    assert "the worker could not start the task: " in results.pop(unreadable).reason
    assert results == {2: 4, 3: 9, 4: 16}


def test_without_gpus_all_workers_run_all_tasks():
    tasks = [GpuTask(number, wants_gpu=True) for number in range(4)]
    results = dict(LocalWorkers(2, gpus=[]).run(visible_gpu, take_in_order(tasks), ignore_event))
    assert set(results.values()) == {"-1"} and len(results) == 4


def test_without_tasks_nothing_is_yielded():
    assert list(LocalWorkers(2).run(square, take_in_order([]), ignore_event)) == []


DRIVER = """
import os, time
from competition.workers.base import take_in_order
from competition.workers.events import Emitted
from competition.workers.local import LocalWorkers

def function(task, emit):
    emit(os.getpid())
    time.sleep(600)

def on_event(event):
    if isinstance(event, Emitted):
        print(event.payload, flush=True)

for _ in LocalWorkers(2).run(function, take_in_order([1, 2]), on_event):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver(number):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as driver:
        workers = [int(driver.stdout.readline()) for _ in range(2)]
        driver.send_signal(number)
        driver.wait(timeout=10)
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process runs; zombies do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", maxsplit=1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_finished_tasks_can_add_tasks():
    waiting = [2]
    results = []

    def take(fits):
        return waiting.pop() if waiting and fits(waiting[-1]) else None

    for task, squared in LocalWorkers(2).run(square, take, ignore_event):
        results.append(task)
        if squared < 1000:
            waiting.append(squared)
    assert results == [2, 4, 16, 256]


def report_a_full_disk(task, emit):
    raise DiskError("cannot write FILE (No space left on device); free some space")


def test_a_full_disk_that_a_task_reports_stops_the_run():
    with LocalWorkers(1) as workers, pytest.raises(DiskError, match="cannot write FILE"):
        list(workers.run(report_a_full_disk, take_in_order(["task"]), ignore_event))
