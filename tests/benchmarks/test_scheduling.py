from benchmarks.scheduling import MODEL_BYTES, SchedulingResult, measure_scheduling
from competition.crossval.folds import make_folds
from competition.workers.local import LocalWorkers


def test_tasks_sleep_and_return_results_of_the_usual_size(dataset):
    result = measure_scheduling(LocalWorkers(2), dataset, make_folds(dataset, 3, 0), tasks=6, sleep=0.2)
    assert result.tasks == 6 and result.workers == 2
    assert result.seconds > 6 * 0.2 / 2 and result.result_bytes > MODEL_BYTES
    assert 0 < result.cpu_seconds < result.seconds * 2


def test_overhead_excludes_sleep():
    result = SchedulingResult(tasks=100, sleep=1.0, workers=10, seconds=12.0, cpu_seconds=2.0, result_bytes=1, memory=1)
    assert round(result.worker_overhead, 6) == 0.2 and result.driver_overhead == 0.02
    assert result.max_workers(150.0) == 7500
