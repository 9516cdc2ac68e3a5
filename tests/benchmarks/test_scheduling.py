from benchmarks.scheduling import KEPT, Rehearsal, rehearse
from competition.crossval.folds import split
from competition.workers.local import LocalWorkers


def test_tasks_sleep_and_bring_back_what_real_ones_do(dataset):
    found = rehearse(LocalWorkers(2), dataset, split(dataset, 3, 0), tasks=6, asleep=0.2)
    assert found.tasks == 6 and found.workers == 2
    assert found.seconds > 6 * 0.2 / 2 and found.received > KEPT and 0 < found.busy < found.seconds * 2


def test_what_is_lost_is_what_is_not_slept():
    found = Rehearsal(tasks=100, asleep=1.0, workers=10, seconds=12.0, busy=2.0, received=1, memory=1)
    assert round(found.lost, 6) == 0.2 and found.handling == 0.02 and found.most(150.0) == 7500
