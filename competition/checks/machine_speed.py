"""Measure how fast this machine multiplies matrices."""

import time
from collections.abc import Sequence

from competition.workers.base import Emit, result_or_raise, take_in_order
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

MATRIX_SIZE = 2048
REPETITIONS = 8
REFERENCE_GFLOPS = 200.0  # speed of the machine on which the models' typical seconds were measured


def measure_gflops() -> dict[str, float]:
    """GFLOP/s of a matrix product on one worker, by precision."""
    precisions = ("float32", "mixed_bfloat16")
    ((_, outcome),) = LocalWorkers(1).run(_measure_gflops, take_in_order([precisions]), ignore_event)
    return dict(zip(precisions, result_or_raise("the matrix product", outcome), strict=True))


def _measure_gflops(precisions: Sequence[str], emit: Emit) -> list[float]:
    """Runs in a worker. The fastest repetition counts, since other processes can only slow it down."""
    import keras

    results = []
    for precision in precisions:
        matrix = keras.ops.ones((MATRIX_SIZE, MATRIX_SIZE), keras.dtype_policies.get(precision).compute_dtype)
        seconds = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            float(keras.ops.matmul(matrix, matrix)[0, 0])
            seconds.append(time.perf_counter() - start)
        results.append(2 * MATRIX_SIZE**3 / min(seconds) / 1e9)
    return results
