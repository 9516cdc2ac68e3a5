"""A real Dask scheduler with real workers on this machine; they import the task functions below from this module."""

import gc
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, wait_until

from competition.crossval.checkpoint import Resumed
from competition.crossval.curves import EpochDone
from competition.crossval.folds import make_folds
from competition.crossval.run import Schedule, cross_validate, pending_tasks
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.errors import UserError
from competition.models.member import Member
from competition.workers.base import take_in_order
from competition.workers.cluster import ClusterWorkers
from competition.workers.events import Emitted, Failure, Retried, Started, ignore_event
from competition.workers.local import LocalWorkers

DEADLINE = 120  # seconds after which an expected event counts as missing
MEMBERS = [Member.parse("knn"), Member.parse("mlp")]


def square(task, emit):
    if task == 2:
        raise ValueError("no twos\nand more")
    return task * task


def emit_200_numbers(task, emit):
    for number in range(200):
        emit(number)
    return task


def get_pid(task, emit):
    return os.getpid()


def kill_worker_on_two(task, emit):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def run_until_enough(task, emit, folder):
    """Write the process id, and run until the file `enough` appears."""
    (folder / f"{task}").write_text(str(os.getpid()))
    while not (folder / "enough").exists():
        emit("running")
        time.sleep(0.05)
    return task


def thread_limits(task, emit):
    import numpy  # noqa: F401  # loads the thread pools
    from threadpoolctl import threadpool_info

    return os.environ["TF_NUM_INTRAOP_THREADS"], [pool["num_threads"] for pool in threadpool_info()]


@dataclass(frozen=True)
class GpuTask:
    """A task that may want a GPU."""

    number: int
    wants_gpu: bool


def read_predictions(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("fold-*.npz"))}


@pytest.mark.integration
def test_a_cluster_writes_the_same_bytes_as_local_workers(cluster, dataset, tmp_path):
    for place, workers in (("here", LocalWorkers(2)), ("there", cluster.workers())):
        store = Store(tmp_path / place, dataset, make_folds(dataset, 2, 0))
        list(cross_validate(store, MEMBERS, workers, ignore_event))
    here, there = read_predictions(tmp_path / "here"), read_predictions(tmp_path / "there")
    assert len(here) == 4 and here == there


@pytest.mark.slow
def test_a_run_started_on_a_cluster_can_be_finished_locally(cluster, dataset, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    only_first = cross_validate(
        store, MEMBERS[:1], cluster.workers(), ignore_event, Schedule(lambda task: task.fold == 0)
    )
    assert list(only_first) == []
    assert [task.name for task in pending_tasks(store, MEMBERS[:1])] == ["knn fold 1"]
    *_, (complete,) = cross_validate(store, MEMBERS[:1], LocalWorkers(1), ignore_event)
    assert complete.complete


def test_exceptions_and_messages_of_tasks_arrive(cluster):
    results = dict(cluster.workers().run(square, take_in_order(range(4)), ignore_event))
    failure = results.pop(2)
    assert isinstance(failure, Failure) and failure.reason == "ValueError: no twos" and "and more" in failure.details
    assert results == {0: 0, 1: 1, 3: 9}
    payloads = {task: [] for task in range(6)}

    def on_event(event):
        if isinstance(event, Emitted):
            payloads[event.task].append(event.payload)

    for task, _ in cluster.workers().run(emit_200_numbers, take_in_order(list(payloads)), on_event):
        assert payloads[task] == list(range(200))


def test_a_run_whose_tasks_have_ended_does_not_say_that_it_waits(cluster, capsys):
    assert len(list(cluster.workers().run(get_pid, take_in_order(range(4)), ignore_event))) == 4
    assert "waiting" not in capsys.readouterr().err


def test_each_task_has_one_thread_and_jobs_limits_the_tasks(cluster):
    ((_, (tensorflow, pools)),) = cluster.workers().run(thread_limits, take_in_order([0]), ignore_event)
    assert tensorflow == "1" and set(pools) == {1}
    one = cluster.workers(jobs=1)
    assert one.jobs == 1 and [task for task, _ in one.run(get_pid, take_in_order(range(5)), ignore_event)] == list(
        range(5)
    )


@pytest.mark.integration
def test_clients_come_and_go_without_leaking_threads(cluster, short_timeout):
    _run_clients(cluster.address, 3)


@pytest.mark.slow
def test_two_hundred_clients_come_and_go_without_leaking_threads(cluster, short_timeout):
    _run_clients(cluster.address, 200)


@pytest.fixture
def short_timeout(monkeypatch):
    """Dask keeps retrying an address where nobody answers until the timeout."""
    monkeypatch.setattr("competition.workers.cluster.TIMEOUT", 2.0)


def _run_clients(address: str, times: int) -> None:
    """Run with frequent garbage collections, which once closed clients at the wrong moment."""
    threads: set[threading.Thread] = set()
    thresholds = gc.get_threshold()
    gc.set_threshold(50, 2, 2)
    try:
        for number in range(times):
            with ClusterWorkers(address) as workers:
                assert dict(workers.run(square, take_in_order([number + 3]), ignore_event)) == {
                    number + 3: (number + 3) ** 2
                }
                abandoned = workers.run(emit_200_numbers, take_in_order(range(2)), ignore_event)
                next(abandoned)
                gc.collect()
                abandoned.close()
            if number % 10 == 0:
                with pytest.raises(UserError, match="no Dask scheduler"), ClusterWorkers("tcp://127.0.0.1:1"):
                    pass
            gc.collect()
            threads = threads or set(threading.enumerate())
            assert set(threading.enumerate()) <= threads, f"after {number + 1} clients"
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.slow
def test_data_sets_are_sent_once(cluster, dataset):
    for number in range(3):
        function = partial(sum_images, dataset=dataset, number=number)
        ((_, total),) = cluster.workers().run(function, take_in_order([0]), ignore_event)
        assert total == int(dataset.images.sum()) + number
    archives = list(cluster.folder.rglob("*.zip"))
    assert len(archives) == 2 and {path.stem for path in archives} == {dataset.digest}  # one per worker


def sum_images(task, emit, dataset, number):
    return int(dataset.images.sum()) + number


@pytest.mark.slow
def test_a_worker_with_two_threads_runs_two_tasks_at_a_time(empty_cluster, tmp_path):
    empty_cluster.start("--nthreads", "2")

    def on_event(event):
        if len(list(tmp_path.iterdir())) == 2:
            (tmp_path / "enough").touch()

    workers = empty_cluster.workers()
    assert dict(workers.run(partial(run_until_enough, folder=tmp_path), take_in_order(range(2)), on_event)) == {
        0: 0,
        1: 1,
    }
    assert len({(tmp_path / f"{task}").read_text() for task in (0, 1)}) == 2


@pytest.mark.slow
def test_an_aborted_run_frees_its_workers(cluster, tmp_path):
    class Enough(Exception):
        pass

    def leave(event):
        if isinstance(event, Emitted):
            raise Enough

    run = cluster.workers().run(partial(run_until_enough, folder=tmp_path), take_in_order(range(2)), leave)
    with pytest.raises(Enough):
        list(run)
    # The tasks were never told to stop, yet the workers are free again.
    assert len(dict(cluster.workers().run(get_pid, take_in_order(range(4)), ignore_event))) == 4


@pytest.mark.slow
def test_a_task_that_kills_its_worker_fails_alone(empty_cluster):
    for _ in range(2):
        empty_cluster.start()
    events = []
    results = dict(empty_cluster.workers().run(kill_worker_on_two, take_in_order(range(5)), events.append))
    assert "the worker" in results.pop(2).reason and results == {0: 0, 1: 1, 3: 3, 4: 4}
    assert events.count(Started(2)) == ClusterWorkers.max_attempts


@pytest.mark.slow
def test_a_task_is_retried_after_its_worker_was_killed(empty_cluster, tmp_path):
    for _ in range(2):
        empty_cluster.start()
    events = []

    def on_event(event):
        events.append(event)
        if len(list(tmp_path.iterdir())) == 2 and not killed:
            killed.append(psutil.Process(int((tmp_path / "1").read_text())))
            killed[0].parent().kill()
            (tmp_path / "1").unlink()
        if any(isinstance(event, Retried) and event.task == 1 for event in events) and (tmp_path / "1").exists():
            (tmp_path / "enough").touch()

    killed = []
    results = dict(
        empty_cluster.workers().run(partial(run_until_enough, folder=tmp_path), take_in_order(range(2)), on_event)
    )
    assert results == {0: 0, 1: 1} and events.count(Started(1)) == 2 and events.count(Started(0)) == 1
    killed[0].wait(10)  # the task's process ended with its worker


@pytest.mark.slow
def test_a_training_whose_worker_was_killed_continues_on_its_machine(empty_cluster, dataset, tmp_path):
    worker, member = empty_cluster.start(), Member.parse("lenet")
    member = replace(member, recipe=replace(member.recipe, epochs=20, min_steps=0))
    stores = [Store(tmp_path / place, dataset, make_folds(dataset, 2, 0)) for place in ("here", "there")]
    events = []

    def kill_after_epoch_five(event):
        events.append(event)
        if isinstance(event, EpochDone) and event.point.epoch == 5 and not list_retried():
            assert list(empty_cluster.folder.rglob("*.checkpoint"))
            for process in psutil.Process(worker.pid).children(recursive=True):
                if any("popen_loky" in part for part in process.cmdline()):
                    process.parent().kill()

    def list_retried():
        return [event.task.fold for event in events if isinstance(event, Retried)]

    list(cross_validate(stores[0], [member], LocalWorkers(1), ignore_event))
    workers = empty_cluster.workers()
    list(cross_validate(stores[1], [member], workers, kill_after_epoch_five, checkpoint_seconds=0.0))
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert list_retried() == [resumed.task.fold] and len(resumed.points) >= 4
    assert read_predictions(tmp_path / "there") == read_predictions(tmp_path / "here")
    assert list(empty_cluster.folder.rglob("*.checkpoint")) == list(tmp_path.rglob("*.checkpoint")) == []


@pytest.mark.slow
def test_a_worker_stops_at_once_on_ctrl_c_and_its_task_is_retried_elsewhere(empty_cluster, tmp_path):
    worker = empty_cluster.start_make_worker()
    events, pids = [], []

    def on_event(event):
        events.append(event)
        if not pids and (tmp_path / "0").exists():
            pids.append(int((tmp_path / "0").read_text()))
            worker.send_signal(signal.SIGINT)
            assert worker.wait(5) == 0 and not psutil.pid_exists(pids[0])
            (tmp_path / "0").unlink()
            empty_cluster.start()
        if any(isinstance(event, Retried) and event.task == 0 for event in events) and (tmp_path / "0").exists():
            (tmp_path / "enough").touch()

    results = dict(
        empty_cluster.workers().run(partial(run_until_enough, folder=tmp_path), take_in_order([0]), on_event)
    )
    assert results == {0: 0} and pids and events.count(Started(0)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("has_scheduler", [True, False])
def test_the_processes_of_a_killed_worker_end(has_scheduler, empty_cluster, tmp_path):
    worker = empty_cluster.start_make_worker()
    assert dict(empty_cluster.workers().run(get_pid, take_in_order([0]), ignore_event))
    processes = psutil.Process(worker.pid).children(recursive=True)
    assert len(processes) >= 3  # Dask's nanny and worker, and the task's process
    empty_cluster.drivers.close()
    if not has_scheduler:
        empty_cluster.processes[0].kill()
    worker.kill()
    gone, alive = psutil.wait_procs(processes, 30)
    assert gone and not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_run_waits_for_workers_and_uses_those_that_join_later(empty_cluster, tmp_path, capsys):
    empty_cluster.start()
    started = []

    def on_event(event):
        if isinstance(event, Started):
            if not started:
                empty_cluster.start()
            started.append(event.task)
        if len(list(tmp_path.iterdir())) == 2:
            (tmp_path / "enough").touch()

    workers = empty_cluster.workers()
    results = dict(workers.run(partial(run_until_enough, folder=tmp_path), take_in_order(range(2)), on_event))
    assert results == {0: 0, 1: 1} and workers.jobs == 2
    assert len({(tmp_path / f"{task}").read_text() for task in (0, 1)}) == 2
    assert "waiting for workers; start more with: make worker CLUSTER=tcp://127.0.0.1:" in capsys.readouterr().err


@pytest.mark.slow
def test_networks_run_on_gpus_if_there_are_any(empty_cluster):
    empty_cluster.start("--nthreads", "1", "--resources", "GPU=1")
    tasks = [GpuTask(number, wants_gpu=number % 2 == 0) for number in range(6)]
    alone = dict(empty_cluster.workers().run(get_pid, take_in_order(tasks), ignore_event))
    assert len(set(alone.values())) == 1 and len(alone) == 6  # a GPU worker alone runs all tasks
    empty_cluster.start()
    workers = empty_cluster.workers()
    wait_until(lambda: workers.refresh() or workers.jobs == 2)
    pids = dict(workers.run(get_pid, take_in_order(tasks), ignore_event))
    with_gpu = set(alone.values())
    assert {pids[task] for task in tasks if task.wants_gpu} == with_gpu
    assert {pids[task] for task in tasks if not task.wants_gpu}.isdisjoint(with_gpu)


def add_other_numpy(folder: Path) -> Path:
    made = folder / "numpy-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    return folder


def copy_edited_package(folder: Path) -> Path:
    shutil.copytree(ROOT / "competition", folder / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    model = folder / "competition" / "models" / "zoo" / "mlp.py"
    model.write_text(model.read_text() + "\nEDITED = True\n")
    return folder


def add_empty_package(folder: Path) -> Path:
    (folder / "competition").mkdir(parents=True)
    (folder / "competition" / "__init__.py").write_text("")
    return folder


@pytest.mark.slow
def test_incompatible_workers_are_reported_and_get_no_tasks(empty_cluster, tmp_path, capsys):
    empty_cluster.start(path=(add_other_numpy(tmp_path / "old"),))
    empty_cluster.start(path=(copy_edited_package(tmp_path / "edited"),))
    empty_cluster.start(path=(add_empty_package(tmp_path / "none"),))
    empty_cluster.start("--nthreads", "1", "--memory-limit", "600MB", "--name", "little")
    messages = []

    def all_refused() -> bool:
        with suppress(UserError):
            empty_cluster.workers()
        messages[:] = sorted(set(capsys.readouterr().err.splitlines()))
        return len(messages) == 4

    wait_until(all_refused)
    reasons = " ".join(messages)
    for reason in ("numpy 1.0 there,", "its source of mlp differs;", "it cannot import `competition`", "0.6 GB"):
        assert reason in reasons
    assert "ignoring worker little at tcp://" in reasons
    with pytest.raises(UserError, match=r"no worker of .* can be used"):
        empty_cluster.workers()
    empty_cluster.start()
    deadline = time.monotonic() + DEADLINE
    while True:
        with suppress(UserError):
            workers = empty_cluster.workers()
            break
        assert time.monotonic() < deadline
    assert dict(workers.run(get_pid, take_in_order(range(3)), ignore_event)).keys() == {0, 1, 2} and workers.jobs == 1


@pytest.mark.slow
def test_an_address_without_a_scheduler_is_reported(command):
    result = command("cv", "--competition", "digits8", "--cluster", "tcp://127.0.0.1:1", timeout=120)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in result.stderr and "make scheduler" in result.stderr


@pytest.mark.slow
def test_a_run_whose_scheduler_died_can_be_finished_locally(empty_cluster, command, tmp_path):
    empty_cluster.start()
    arguments = ("cv", "--competition", "digits8", "--folds", "3", "--models", "knn mlp")
    folds = tmp_path / "folds" / "digits8"

    def kill() -> None:
        wait_until(lambda: list(folds.rglob("fold-*.npz")))
        empty_cluster.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    result = command(*arguments, "--cluster", empty_cluster.address, timeout=DEADLINE)
    killer.join()
    assert result.returncode == 2 and "Traceback" not in result.stderr and "finished tasks are saved" in result.stderr
    saved = read_predictions(folds)
    assert 1 <= len(saved) < 6
    assert command(*arguments, timeout=DEADLINE).returncode == 0
    finished = read_predictions(folds)
    assert len(finished) == 6 and saved.items() <= finished.items()


def test_networks_count_only_the_workers_with_a_gpu_of_a_mixed_cluster():
    workers = ClusterWorkers("tcp://nowhere:8786", 6)
    workers._usable = {
        "gpu": {"nthreads": 1, "resources": {"GPU": 1}},
        "cpu": {"nthreads": 8, "resources": {}},
    }
    network, classical = (Task(Member.parse(name), 0) for name in ("quick", "knn"))
    assert (workers.capacity(network), workers.capacity(classical)) == (1, 6)
    workers._usable.pop("gpu")
    assert workers.capacity(network) == 6
