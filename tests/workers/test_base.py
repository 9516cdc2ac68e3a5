import sys
from contextlib import contextmanager
from dataclasses import dataclass

from competition.workers.base import Workers, take_in_order
from competition.workers.events import ignore_event


class Pool:
    """A single worker that runs each task at once, and leaves after the last one."""

    def __init__(self, tasks):
        self.waiting, self.ended = tasks, []

    def idle(self):
        assert self.waiting, "waits for a worker although no task is left"
        return [self]

    def fits(self, task):
        return True

    def submit(self, worker, task):
        self.waiting -= 1
        self.ended.append((task, 10 * task))

    def wait(self):
        ended, self.ended = self.ended, []
        return ended

    def messages(self):
        return []


class WorkersOf(Workers):
    """The workers of a pool."""

    jobs = 1

    def __init__(self, pool, max_running=sys.maxsize):
        self.pool, self.max_running = pool, max_running

    @contextmanager
    def open_pool(self, function):
        yield self.pool


class LateWorker(Pool):
    """A worker that fits no task until one was waited for, as when another driver uses all GPUs."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.waits = 0

    def fits(self, task):
        return self.waits > 0

    def wait(self):
        self.waits += 1
        return super().wait()


def test_a_worker_that_fits_is_waited_for_while_tasks_are_left():
    run = WorkersOf(LateWorker(2)).run(lambda task, emit: task, take_in_order(range(2)), ignore_event)
    assert list(run) == [(0, 0), (1, 10)]


class MixedPool:
    """Two workers that fit no task, listed before two that fit all."""

    def __init__(self):
        self.busy, self.most = {}, 0

    def idle(self):
        return [worker for worker in (CPU(), CPU(), GPU(1), GPU(2)) if worker not in self.busy]

    def submit(self, worker, task):
        self.busy[worker] = task
        self.most = max(self.most, len(self.busy))

    def wait(self):
        worker, task = self.busy.popitem()
        return [(task, worker.number)]

    def messages(self):
        return []


class CPU:
    def fits(self, task):
        return False


@dataclass(frozen=True)
class GPU:
    number: int

    def fits(self, task):
        return True


def test_the_limit_of_tasks_counts_running_ones_and_not_workers_that_do_not_fit():
    workers = WorkersOf(MixedPool(), max_running=1)
    run = workers.run(lambda task, emit: task, take_in_order(range(3)), ignore_event)
    assert [task for task, _ in run] == [0, 1, 2] and workers.pool.most == 1


def test_no_worker_is_waited_for_when_no_task_is_left():
    for count in range(3):
        run = WorkersOf(Pool(count)).run(lambda task, emit: task, take_in_order(range(count)), ignore_event)
        assert list(run) == [(task, 10 * task) for task in range(count)]
