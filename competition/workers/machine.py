"""The cores and GPUs of this machine."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
FRUGAL = {  # no chatter, no GPU memory in advance
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
CUDA_LIBRARIES = ("nvidia.cudnn", "jax_cuda12_plugin", "jax_cuda13_plugin")  # with them networks can use a GPU
MEMORY = 1.5e9  # bytes that a worker may take


def usable_gpus() -> list[str]:
    """The GPUs that are there and that an installed library can use."""
    if not any(_installed(library) for library in CUDA_LIBRARIES) or not shutil.which("nvidia-smi"):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu and gpu != "-1"]
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^GPU (\d+):", listed, re.M)


def _installed(library: str) -> bool:
    """Whether it could be imported, found out without doing so."""
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        return False
