from contextlib import contextmanager

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


class SingleWorker(Workers):
    """Workers of which there is one, for so many tasks."""

    jobs = 1

    def __init__(self, tasks):
        self.tasks = tasks

    @contextmanager
    def open_pool(self, function):
        yield Pool(self.tasks)


class LateWorker(Pool):
    """A worker that fits no task until it was asked to wait for one."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.waits = 0

    def fits(self, task):
        return self.waits > 0

    def wait(self):
        self.waits += 1
        return super().wait()


class LateWorkers(SingleWorker):
    """A cluster whose only free worker does not fit, as when another driver uses all GPUs."""

    @contextmanager
    def open_pool(self, function):
        yield LateWorker(self.tasks)


def test_a_worker_that_fits_is_waited_for_while_tasks_are_left():
    run = LateWorkers(2).run(lambda task, emit: task, take_in_order(range(2)), ignore_event)
    assert list(run) == [(0, 0), (1, 10)]


def test_no_worker_is_waited_for_when_no_task_is_left():
    for count in range(3):
        run = SingleWorker(count).run(lambda task, emit: task, take_in_order(range(count)), ignore_event)
        assert list(run) == [(task, 10 * task) for task in range(count)]
