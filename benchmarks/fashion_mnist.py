"""Write Fashion-MNIST as a practice competition, with its 10,000 test labels held back."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from competition.data.practice import write_competition
from competition.errors import UserError

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package
PACKAGE = "dataset-fashion-mnist"
IMAGE_HEADER, LABEL_HEADER = 16, 8  # bytes
PIXELS = 28 * 28


def make_fashion_mnist(folder: Path, source: Path = FOLDER) -> None:
    """Write the competition into `folder`, from the four compressed files in `source`."""
    train, test = (_read_part(source, name) for name in ("train", "t10k"))
    write_competition(folder, *train, *test)


def _read_part(source: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the images (rows, pixels) and labels of the training or test rows."""
    images = _read(source / f"{name}-images-idx3-ubyte.gz", IMAGE_HEADER).reshape(-1, PIXELS)
    return images, _read(source / f"{name}-labels-idx1-ubyte.gz", LABEL_HEADER)


def _read(path: Path, header: int) -> np.ndarray:
    """Read the bytes after the header of a compressed file."""
    if not path.exists():
        raise UserError(f"{path} is missing; install Debian's package {PACKAGE}, or name the files' folder: --source")
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); install Debian's package {PACKAGE} again") from error
    return np.frombuffer(content, np.uint8, offset=header)
