"""Real worker processes; they find the work functions below by this module's name."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from conftest import ROOT
from joblib import cpu_count

from competition.workers.base import Failure, in_turn
from competition.workers.local import LocalWorkers


def square(task, say):
    say("epoch", (1, 1))
    return task * task


def raise_on_two(task, say):
    if task == 2:
        raise ValueError("no twos\nand more")
    return task


def die_on_two(task, say):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die_once(task, say, marker):
    if task == 2 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def own_pid(task, say, marker):
    while task == 2 and not Path(marker).exists():
        time.sleep(0.01)
    return os.getpid()


def limits(task, say):
    import numpy  # noqa: F401  # brings the thread pool that is looked at
    from threadpoolctl import threadpool_info

    return os.environ["TF_NUM_INTRAOP_THREADS"], [pool["num_threads"] for pool in threadpool_info()]


def chatter(task, say):
    for number in range(200):
        say(number)
    return task


def weigh(task, say):
    """Die once the half of a message is sent that fills a pipe."""

    def send(connection, message, write=os.write):
        while len(message) > 100_000:
            write(connection.fileno(), bytes(message)[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(connection.fileno(), message)

    Connection._send = send
    return bytes(1_000_000)


def deaf(*said):
    pass


def test_all_that_a_worker_said_is_heard_before_its_result():
    heard = {task: [] for task in range(20)}
    outcomes = LocalWorkers(2).run(chatter, in_turn(list(heard)), lambda task, what: heard[task].append(what))
    for task, _ in outcomes:
        assert heard[task] == ["started", *range(200)]


def test_there_are_never_more_workers_than_cores():
    assert LocalWorkers(10_000).jobs == LocalWorkers().jobs == cpu_count()


def test_a_worker_that_dies_while_it_idles_is_replaced(tmp_path):
    workers = LocalWorkers(1)
    seen = []
    for task, pid in workers.run(partial(own_pid, marker=tmp_path / "killed"), in_turn(range(3)), deaf):
        seen.append(pid)
        if task == 1:  # by now the worker has task 2, or is about to; either way that one has to come back
            os.kill(pid, signal.SIGKILL)
            (tmp_path / "killed").touch()
    assert len(seen) == 3 and seen[0] == seen[1] != seen[2]


def test_every_task_gives_its_result_and_the_driver_hears():
    heard = []
    results = dict(LocalWorkers(2).run(square, in_turn(range(6)), lambda *said: heard.append(said)))
    assert results == {task: task * task for task in range(6)}
    assert {said[0] for said in heard if said[1] == "started"} == set(range(6))
    assert any(said[1] == "epoch" for said in heard)


def test_a_task_that_raises_fails_alone_and_tells_why():
    results = dict(LocalWorkers(2).run(raise_on_two, in_turn(range(4)), deaf))
    failure = results.pop(2)
    assert isinstance(failure, Failure) and failure.reason == "ValueError: no twos" and "and more" in failure.details
    assert results == {0: 0, 1: 1, 3: 3}


def test_a_task_that_kills_its_worker_is_named_and_the_others_go_on():
    heard = []
    results = dict(LocalWorkers(2).run(die_on_two, in_turn(range(5)), lambda *said: heard.append(said[:2])))
    assert "its worker died" in results[2].reason and "SIGKILL" in results[2].reason
    assert heard.count((2, "started")) == 2 and heard.count((2, "again")) == 1
    assert {task: results[task] for task in (0, 1, 3, 4)} == {0: 0, 1: 1, 3: 3, 4: 4}


def test_a_worker_that_dies_once_costs_nothing_but_time(tmp_path):
    work = partial(die_once, marker=str(tmp_path / "died"))
    assert dict(LocalWorkers(1).run(work, in_turn(range(4)), deaf)) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_worker_that_dies_while_it_sends_much_holds_up_nobody():
    """Its driver would wait for the rest of the message."""
    ballast = bytes(1_000_000)
    results = dict(LocalWorkers(1).run(weigh, in_turn(range(2)), deaf))
    assert all(result == ballast or "its worker died" in result.reason for result in results.values())


def test_a_worker_has_one_thread():
    ((_, (tensorflow, pools)),) = LocalWorkers(1).run(limits, in_turn([0]), deaf)
    assert tensorflow == "1" and set(pools) == {1}


@dataclass(frozen=True)
class Image:
    """A task that may want a GPU."""

    number: int
    wants_gpu: bool


def visible_gpu(task, say):
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_a_gpu_has_one_worker_and_only_tasks_that_want_it():
    tasks = [Image(number, wants_gpu=number % 2 == 0) for number in range(6)]
    seen = dict(LocalWorkers(2, gpus=["3"]).run(visible_gpu, in_turn(tasks), deaf))
    assert [seen[task] for task in tasks] == ["3", "-1", "3", "-1", "3", "-1"]


def test_without_a_gpu_all_workers_take_everything():
    tasks = [Image(number, wants_gpu=True) for number in range(4)]
    seen = dict(LocalWorkers(2, gpus=[]).run(visible_gpu, in_turn(tasks), deaf))
    assert set(seen.values()) == {"-1"} and len(seen) == 4


def test_no_tasks_need_no_workers():
    assert list(LocalWorkers(2).run(square, in_turn([]), deaf)) == []


DRIVER = """
import os, time
from competition.workers.base import in_turn
from competition.workers.local import LocalWorkers

def work(task, say):
    say("here", os.getpid())
    time.sleep(600)

def hear(task, what, pid=None):
    if what == "here":
        print(pid, flush=True)

for _ in LocalWorkers(2).run(work, in_turn([1, 2]), hear):
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
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", maxsplit=1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_further_tasks_may_follow_from_results():
    to_do = [2]
    seen = []
    for task, squared in LocalWorkers(2).run(square, lambda fits: to_do.pop() if to_do else None, deaf):
        seen.append(task)
        if squared < 1000:
            to_do.append(squared)
    assert seen == [2, 4, 16, 256]
