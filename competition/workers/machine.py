"""Settings of the processes on this machine that train and predict."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SINGLE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
QUIET_LIBRARIES = {  # no log output, no preallocated GPU memory
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
WORKER_MEMORY = 1.5e9  # bytes that a worker may need


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Discard what TensorFlow's C++ code writes to stderr when it is loaded, whatever the log level."""
    stderr = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
