"""The cores and GPUs of this machine."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec

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
CUDA_LIBRARIES = ("nvidia.cudnn", "jax_cuda12_plugin", "jax_cuda13_plugin")  # Keras needs one of them to use a GPU
WORKER_MEMORY = 1.5e9  # bytes that a worker may need


def usable_gpus() -> list[str]:
    """List the GPUs that are visible and that an installed library can use."""
    if not any(_is_installed(library) for library in CUDA_LIBRARIES) or not shutil.which("nvidia-smi"):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu and gpu != "-1"]
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^GPU (\d+):", listing, re.M)


def _is_installed(library: str) -> bool:
    """Whether the library can be imported, checked without importing it."""
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        return False
