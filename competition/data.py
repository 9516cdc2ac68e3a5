"""A competition's rows as arrays.

The files are parsed once; later reads map a cache that is named after their digest.
"""

import hashlib
import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition import tables
from competition.files import sha256
from competition.problem import Problem
from competition.sources import FILES

CACHE_FORMAT = 1  # raise it when what the cache holds changes
ARRAYS = ("images", "labels", "classes", "train_ids", "test_images", "test_ids")


@dataclass(frozen=True)
class Dataset:
    """A competition's rows. Images are (rows, height, width, channels), labels are encoded 0..k-1."""

    images: np.ndarray  # uint8, memory-mapped
    labels: np.ndarray  # positions in `classes`
    classes: np.ndarray  # the labels as the competition writes them, sorted
    train_ids: np.ndarray  # the id column, or the row's number from 1 where there is none
    test_images: np.ndarray
    test_ids: np.ndarray  # in the order of the sample submission
    digest: str
    cache: Path

    def __reduce__(self) -> tuple:
        """Travels to a worker as the place of its cache, so that all workers share one copy in memory."""
        return _map_cache, (self.cache,)


def load(folder: Path) -> Dataset:
    """The checked competition in `folder`, mapped from its cache or parsed into it."""
    for path in (folder / file for file in FILES):
        if not path.exists():
            raise Problem(f"{path} is missing; run `make data COMPETITION={shlex.quote(folder.name)}`")
        if not path.is_file():
            raise Problem(f"{path} is no file; move it away and put the competition's {path.name} there")
        if not os.access(path, os.R_OK):
            raise Problem(f"{path} may not be read; allow it: {shlex.join(['chmod', 'u+r', str(path)])}")
    parts = [f"{CACHE_FORMAT}"] + [sha256(folder / file) for file in FILES]
    digest = hashlib.sha256("".join(parts).encode()).hexdigest()
    cache = folder.absolute() / "cache" / digest[:16]
    if not cache.exists():
        _write_cache(cache, tables.read(folder), digest)
    return _map_cache(cache)


def _write_cache(cache: Path, arrays: dict[str, np.ndarray], digest: str) -> None:
    """Write the arrays beside each other under a temporary name, then give the folder its own."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=cache.parent))
    except OSError as error:
        links = "put links to the three files into a folder where one may write"
        raise Problem(f"{cache.parent} cannot be written to: {error.strerror}; {links}") from None
    try:
        for name in ARRAYS:
            np.save(temporary / f"{name}.npy", arrays[name], allow_pickle=False)
        (temporary / "digest").write_text(digest)
        temporary.chmod(0o755)
        temporary.rename(cache)
    except OSError:
        if not cache.exists():
            raise
        # Another process was faster, with the same arrays.
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # unless it has its name


def _map_cache(cache: Path) -> Dataset:
    """The Dataset of a cache; the images stay on disk until they are looked at."""
    arrays = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Dataset(**arrays, digest=(cache / "digest").read_text(), cache=cache)
