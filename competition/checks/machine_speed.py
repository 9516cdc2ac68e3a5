"""How fast this machine multiplies matrices."""

import time
from collections.abc import Sequence
from typing import Any

from competition.workers.base import Say, in_turn, succeeded
from competition.workers.local import LocalWorkers

SIDE = 2048  # of the matrices


def peaks() -> dict[str, float]:
    """GFLOP/s of a matrix product on one worker, by precision."""
    precisions = ("float32", "mixed_bfloat16")
    ((_, found),) = LocalWorkers(1).run(_peaks, in_turn([precisions]), ignore)
    return dict(zip(precisions, succeeded("the matrix product", found), strict=True))


def ignore(*event: Any) -> None:
    """Drop an event that nobody needs to see."""


def _peaks(precisions: Sequence[str], say: Say) -> list[float]:
    """In a worker: the best of several products, since whatever disturbs only slows."""
    import keras

    found = []
    for precision in precisions:
        matrix = keras.ops.ones((SIDE, SIDE), keras.dtype_policies.get(precision).compute_dtype)
        seconds = []
        for _ in range(8):
            start = time.perf_counter()
            float(keras.ops.matmul(matrix, matrix)[0, 0])
            seconds.append(time.perf_counter() - start)
        found.append(2 * SIDE**3 / min(seconds) / 1e9)
    return found
