"""A real Dask scheduler with real workers on this machine; they find the work functions below by this module's name."""

import gc
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, wait_until

from competition.crossval.folds import split
from competition.crossval.run import cross_validate, unfinished
from competition.crossval.store import Store
from competition.errors import Problem
from competition.models.member import Member
from competition.workers.base import Failure, in_turn
from competition.workers.cluster import ClusterWorkers
from competition.workers.local import LocalWorkers

SOON = 120  # seconds in which what is bound to come has come
MEMBERS = [Member.named("knn"), Member.named("mlp")]


def deaf(*said):
    pass


def square(task, say):
    if task == 2:
        raise ValueError("no twos\nand more")
    return task * task


def chatter(task, say):
    for number in range(200):
        say(number)
    return task


def own_pid(task, say):
    return os.getpid()


def die_on_two(task, say):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def last(task, say, folder):
    """Tell who works, and go on until a file appears."""
    (folder / f"{task}").write_text(str(os.getpid()))
    while not (folder / "enough").exists():
        say("at it")
        time.sleep(0.05)
    return task


def limits(task, say):
    import numpy  # noqa: F401  # brings the thread pool that is looked at
    from threadpoolctl import threadpool_info

    return os.environ["TF_NUM_INTRAOP_THREADS"], [pool["num_threads"] for pool in threadpool_info()]


def sight(task, say):
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()


@dataclass(frozen=True)
class Image:
    """A task that may want a GPU."""

    number: int
    wants_gpu: bool


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("fold-*.npz"))}


def test_a_cluster_writes_the_same_bytes_as_this_machine(cluster, dataset, tmp_path):
    for place, workers in (("here", LocalWorkers(2)), ("there", cluster.workers())):
        store = Store(tmp_path / place, dataset, split(dataset, 2, 0))
        list(cross_validate(store, MEMBERS, workers, deaf))
    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert len(here) == 4 and here == there


@pytest.mark.slow
def test_a_run_that_was_begun_on_a_cluster_is_finished_here(cluster, dataset, tmp_path):
    store = Store(tmp_path, dataset, split(dataset, 2, 0))
    only_first = cross_validate(store, MEMBERS[:1], cluster.workers(), deaf, admits=lambda task: task.fold == 0)
    assert list(only_first) == []
    assert [task.name for task in unfinished(store, MEMBERS[:1])] == ["knn fold 1"]
    *_, (complete,) = cross_validate(store, MEMBERS[:1], LocalWorkers(1), deaf)
    assert complete.complete


def test_what_a_task_raises_and_says_comes_back(cluster):
    results = dict(cluster.workers().run(square, in_turn(range(4)), deaf))
    failure = results.pop(2)
    assert isinstance(failure, Failure) and failure.reason == "ValueError: no twos" and "and more" in failure.details
    assert results == {0: 0, 1: 1, 3: 9}
    heard = {task: [] for task in range(6)}
    run = cluster.workers().run(chatter, in_turn(heard), lambda task, what: heard[task].append(what))
    for task, _ in run:
        assert heard[task] == ["started", *range(200)]


def test_a_worker_has_one_thread_and_no_more_tasks_than_asked_for_run(cluster):
    ((_, (tensorflow, pools)),) = cluster.workers().run(limits, in_turn([0]), deaf)
    assert tensorflow == "1" and set(pools) == {1}
    one = cluster.workers(jobs=1)
    assert one.jobs == 1 and [task for task, _ in one.run(own_pid, in_turn(range(5)), deaf)] == list(range(5))


def test_clients_come_and_go_without_leaving_a_thread(cluster, impatient):
    _open_use_and_leave(cluster.address, 3)


@pytest.mark.slow
def test_two_hundred_clients_come_and_go_without_leaving_a_thread(cluster, impatient):
    _open_use_and_leave(cluster.address, 200)


@pytest.fixture
def impatient(monkeypatch):
    """Dask tries an address where nobody answers again and again."""
    monkeypatch.setattr("competition.workers.cluster.PATIENCE", 2.0)


def _open_use_and_leave(address: str, times: int) -> None:
    """With the garbage collector at work in the midst of everything, which once ended clients in the wrong moment."""
    threads: set[threading.Thread] = set()
    thresholds = gc.get_threshold()
    gc.set_threshold(50, 2, 2)
    try:
        for number in range(times):
            with ClusterWorkers(address) as workers:
                assert dict(workers.run(square, in_turn([number + 3]), deaf)) == {number + 3: (number + 3) ** 2}
                abandoned = workers.run(chatter, in_turn(range(2)), deaf)
                next(abandoned)
                gc.collect()
                abandoned.close()
            if number % 10 == 0:
                with pytest.raises(Problem, match="no Dask scheduler"), ClusterWorkers("tcp://127.0.0.1:1"):
                    pass
            gc.collect()
            threads = threads or set(threading.enumerate())
            assert set(threading.enumerate()) <= threads, f"after {number + 1} clients"
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.slow
def test_the_data_are_sent_once(cluster, dataset):
    for number in range(3):
        work = partial(whole_sum, dataset=dataset, number=number)
        ((_, total),) = cluster.workers().run(work, in_turn([0]), deaf)
        assert total == int(dataset.images.sum()) + number
    archives = list(cluster.folder.rglob("*.zip"))
    assert len(archives) == 2 and {path.stem for path in archives} == {dataset.digest}  # one a worker


def whole_sum(task, say, dataset, number):
    return int(dataset.images.sum()) + number


@pytest.mark.slow
def test_a_worker_with_two_threads_does_two_tasks_at_a_time(empty_cluster, tmp_path):
    empty_cluster.start("--nthreads", "2")

    def hear(task, what):
        if len(list(tmp_path.iterdir())) == 2:
            (tmp_path / "enough").touch()

    workers = empty_cluster.workers()
    assert dict(workers.run(partial(last, folder=tmp_path), in_turn(range(2)), hear)) == {0: 0, 1: 1}
    assert len({(tmp_path / f"{task}").read_text() for task in (0, 1)}) == 2


@pytest.mark.slow
def test_who_has_left_lets_go_of_the_workers(cluster, tmp_path):
    class Enough(Exception):
        pass

    def until_said(task, what):
        if what == "at it":
            raise Enough

    run = cluster.workers().run(partial(last, folder=tmp_path), in_turn(range(2)), until_said)
    with pytest.raises(Enough):
        list(run)
    # Nobody wrote "enough", yet the workers are free again.
    assert len(dict(cluster.workers().run(own_pid, in_turn(range(4)), deaf))) == 4


@pytest.mark.slow
def test_a_task_that_kills_its_worker_is_given_up_and_the_others_go_on(empty_cluster):
    for _ in range(2):
        empty_cluster.start()
    heard = []
    results = dict(empty_cluster.workers().run(die_on_two, in_turn(range(5)), lambda *said: heard.append(said[:2])))
    assert "its worker" in results.pop(2).reason and results == {0: 0, 1: 1, 3: 3, 4: 4}
    assert heard.count((2, "started")) == ClusterWorkers.attempts


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_costs_nothing_but_time(empty_cluster, tmp_path):
    for _ in range(2):
        empty_cluster.start()
    heard = []

    def hear(task, what, *details):
        heard.append((task, what))
        if len(list(tmp_path.iterdir())) == 2 and not killed:
            killed.append(psutil.Process(int((tmp_path / "1").read_text())))
            killed[0].parent().kill()
            (tmp_path / "1").unlink()
        if (1, "again") in heard and (tmp_path / "1").exists():
            (tmp_path / "enough").touch()

    killed = []
    results = dict(empty_cluster.workers().run(partial(last, folder=tmp_path), in_turn(range(2)), hear))
    assert results == {0: 0, 1: 1} and heard.count((1, "started")) == 2 and heard.count((0, "started")) == 1
    killed[0].wait(10)  # what the worker had begun ended with it


@pytest.mark.slow
def test_a_machine_that_stops_serving_ends_at_once_and_its_task_is_done_elsewhere(empty_cluster, tmp_path):
    serving = empty_cluster.start_ours()
    heard, pids = [], []

    def hear(task, what, *details):
        heard.append((task, what))
        if not pids and (tmp_path / "0").exists():
            pids.append(int((tmp_path / "0").read_text()))
            serving.send_signal(signal.SIGINT)
            assert serving.wait(5) == 0 and not psutil.pid_exists(pids[0])
            (tmp_path / "0").unlink()
            empty_cluster.start()
        if (0, "again") in heard and (tmp_path / "0").exists():
            (tmp_path / "enough").touch()

    results = dict(empty_cluster.workers().run(partial(last, folder=tmp_path), in_turn([0]), hear))
    assert results == {0: 0} and pids and heard.count((0, "started")) == 2


@pytest.mark.slow
def test_a_run_without_workers_waits_and_a_worker_that_comes_late_takes_part(empty_cluster, tmp_path, capsys):
    empty_cluster.start()
    seen = []

    def hear(task, what):
        if what == "started":
            if not seen:
                empty_cluster.start()
            seen.append(task)
        if len(list(tmp_path.iterdir())) == 2:
            (tmp_path / "enough").touch()

    workers = empty_cluster.workers()
    results = dict(workers.run(partial(last, folder=tmp_path), in_turn(range(2)), hear))
    assert results == {0: 0, 1: 1} and workers.jobs == 2
    assert len({(tmp_path / f"{task}").read_text() for task in (0, 1)}) == 2
    assert "waiting for workers; more are started by: make worker CLUSTER=tcp://127.0.0.1:" in capsys.readouterr().err


@pytest.mark.slow
def test_networks_go_to_gpus_where_there_are_some(empty_cluster):
    empty_cluster.start("--nthreads", "1", "--resources", "GPU=1")
    tasks = [Image(number, wants_gpu=number % 2 == 0) for number in range(6)]
    alone = dict(empty_cluster.workers().run(own_pid, in_turn(tasks), deaf))
    assert len(set(alone.values())) == 1 and len(alone) == 6  # it does everything where it is alone
    empty_cluster.start()
    workers = empty_cluster.workers()
    wait_until(lambda: workers.look() or workers.jobs == 2)
    pids = dict(workers.run(own_pid, in_turn(tasks), deaf))
    with_gpu = set(alone.values())
    assert {pids[task] for task in tasks if task.wants_gpu} == with_gpu
    assert {pids[task] for task in tasks if not task.wants_gpu}.isdisjoint(with_gpu)


def numpy_of_another_version(folder: Path) -> Path:
    made = folder / "numpy-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    return folder


def package_of_another_source(folder: Path) -> Path:
    shutil.copytree(ROOT / "competition", folder / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    model = folder / "competition" / "models" / "zoo" / "mlp.py"
    model.write_text(model.read_text() + "\nEDITED = True\n")
    return folder


def no_package(folder: Path) -> Path:
    (folder / "competition").mkdir(parents=True)
    (folder / "competition" / "__init__.py").write_text("")
    return folder


@pytest.mark.slow
def test_a_worker_that_is_not_like_us_is_named_and_gets_no_tasks(empty_cluster, tmp_path, capsys):
    empty_cluster.start(path=(numpy_of_another_version(tmp_path / "old"),))
    empty_cluster.start(path=(package_of_another_source(tmp_path / "edited"),))
    empty_cluster.start(path=(no_package(tmp_path / "none"),))
    empty_cluster.start("--nthreads", "1", "--memory-limit", "600MB", "--name", "little")
    told = []

    def all_refused() -> bool:
        with suppress(Problem):
            empty_cluster.workers()
        told[:] = sorted(set(capsys.readouterr().err.splitlines()))
        return len(told) == 4

    wait_until(all_refused)
    reasons = " ".join(told)
    for reason in ("numpy 1.0, not", "another source of mlp;", "no package `competition`", "0.6 GB"):
        assert reason in reasons
    assert "worker little at tcp://" in reasons
    with pytest.raises(Problem, match=r"no worker of .* can be used"):
        empty_cluster.workers()
    empty_cluster.start()
    deadline = time.monotonic() + SOON
    while True:
        with suppress(Problem):
            workers = empty_cluster.workers()
            break
        assert time.monotonic() < deadline
    assert dict(workers.run(own_pid, in_turn(range(3)), deaf)).keys() == {0, 1, 2} and workers.jobs == 1


@pytest.mark.slow
def test_an_address_where_nobody_answers_is_told(command):
    done = command("cv", "--competition", "digits8", "--cluster", "tcp://127.0.0.1:1", timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in done.stderr and "make scheduler" in done.stderr


@pytest.mark.slow
def test_a_scheduler_that_vanishes_ends_the_run_cleanly_and_it_is_finished_here(empty_cluster, command, tmp_path):
    empty_cluster.start()
    arguments = ("cv", "--competition", "digits8", "--folds", "3", "--models", "knn", "mlp")
    folds = tmp_path / "folds" / "digits8"

    def kill() -> None:
        wait_until(lambda: list(folds.rglob("fold-*.npz")))
        empty_cluster.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    done = command(*arguments, "--cluster", empty_cluster.address, timeout=SOON)
    killer.join()
    assert (
        done.returncode == 2 and "Traceback" not in done.stderr and "is gone; what is finished is kept" in done.stderr
    )
    kept = files_of(folds)
    assert 1 <= len(kept) < 6
    assert command(*arguments, timeout=SOON).returncode == 0
    finished = files_of(folds)
    assert len(finished) == 6 and kept.items() <= finished.items()
