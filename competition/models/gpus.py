"""The GPUs that the deep-learning library can use: the library itself is queried, once for a run and its workers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from competition.models.backend import keras_backend

DETECTED = "FOLDBLEND_DETECTED_GPUS"  # passes the result to worker processes, each of which sees one GPU or none
COUNT = {  # programs that print how many GPUs the library can use
    "tensorflow": "import tensorflow; print(len(tensorflow.config.list_physical_devices('GPU')))",
    "jax": "import jax; print(sum(device.platform == 'gpu' for device in jax.devices()))",
    "torch": "import torch; print(torch.cuda.device_count())",
}
BFLOAT16_CAPABILITY, FLOAT16_CAPABILITY = 8.0, 7.0  # compute capabilities from which GPUs multiply these natively


class Gpu(NamedTuple):
    """A GPU, by its name in CUDA_VISIBLE_DEVICES."""

    name: str
    capability: float


@cache
def usable_gpus() -> tuple[Gpu, ...]:
    """The GPUs that are visible and that Keras's backend can use; none where there is no NVIDIA driver."""
    if DETECTED not in os.environ:
        listed = _list_gpus()
        usable = listed[: _count_usable()] if listed else []
        os.environ[DETECTED] = describe_gpus(usable)
    pairs = (text.rpartition("=") for text in os.environ[DETECTED].split())
    return tuple(Gpu(name, float(capability)) for name, _, capability in pairs)


def describe_gpus(gpus: Sequence[Gpu]) -> str:
    """The GPUs as the value of DETECTED, for a process that is to use only these."""
    return " ".join(f"{gpu.name}={gpu.capability}" for gpu in gpus)


def trains_on_gpu() -> bool:
    """Whether networks train on a GPU in this process; workers on the other cores see none."""
    return bool(usable_gpus()) and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def gpu_precision() -> str | None:
    """The precision in which all usable GPUs train fastest; None without GPUs."""
    if not (gpus := usable_gpus()):
        return None
    capability = min(gpu.capability for gpu in gpus)
    if capability >= BFLOAT16_CAPABILITY:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= FLOAT16_CAPABILITY else "float32"


def _list_gpus() -> list[Gpu]:
    """The GPUs that the driver lists and that CUDA_VISIBLE_DEVICES does not hide."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1") or not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index,compute_cap", "--format=csv,noheader"]
    listing = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    rows = [line.split(",") for line in listing.splitlines() if line.count(",") == 1]
    gpus = [Gpu(index.strip(), float(capability)) for index, capability in rows]
    if visible is None or not gpus:
        return gpus
    least = min(gpu.capability for gpu in gpus)
    known = {gpu.name: gpu for gpu in gpus}
    return [known.get(name, Gpu(name, least)) for name in visible.split(",") if name]  # others are UUIDs


def _count_usable() -> int:
    """How many GPUs the backend finds, queried in a process of its own, since the driver loads no deep learning."""
    program = COUNT.get(keras_backend(), "print(0)")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    lines = result.stdout.split()
    return int(lines[-1]) if lines and lines[-1].isdecimal() else 0
