"""A competition's rows as arrays.

The files are parsed once; later reads map a cache that is named after their digest.
"""

import hashlib
import io
import os
import shlex
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from competition.data import config as rules
from competition.data import image_folders as albums
from competition.data import tables
from competition.data.sources import files_of, has_pictures
from competition.errors import Problem
from competition.files import sha256, whole_folder

CACHE_FORMAT = 1  # raise it when what the cache holds changes
CHECKSUMS = "SHA256SUMS"
ARRAYS = ("images", "labels", "classes", "train_ids", "groups", "test_images", "test_ids")


@dataclass(frozen=True)
class Dataset:
    """A competition's rows. Images are (rows, height, width, channels), labels are encoded 0..k-1."""

    images: np.ndarray  # uint8, memory-mapped
    labels: np.ndarray  # positions in `classes`
    classes: np.ndarray  # the labels as the competition writes them, sorted
    train_ids: np.ndarray  # the id column, or the row's number from 1 where there is none
    groups: np.ndarray  # rows of one number are held out together; mostly each row has its own
    test_images: np.ndarray
    test_ids: np.ndarray  # in the order of the test images; a submission is joined by them
    digest: str
    cache: Path

    def __reduce__(self) -> tuple:
        """Travels to a worker as the place of its cache, so that all workers share one copy in memory."""
        return _map_cache, (self.cache,)


def load(folder: Path) -> Dataset:
    """The checked competition in `folder`, mapped from its cache or parsed into it."""
    files = files_of(folder)
    for path in (folder / file for file in files):
        if not path.exists():
            raise Problem(f"{path} is missing; run `make data COMPETITION={shlex.quote(folder.name)}`")
        if not path.is_file():
            raise Problem(f"{path} is no file; move it away and put the competition's {path.name} there")
        if not os.access(path, os.R_OK):
            raise Problem(f"{path} may not be read; allow it: {shlex.join(['chmod', 'u+r', str(path)])}")
    told = rules.read(folder)
    parts = [f"{CACHE_FORMAT}", *(sha256(folder / file) for file in files), told.text]
    if _form(folder) is albums:
        parts.append(albums.content(folder))
    digest = hashlib.sha256("".join(parts).encode()).hexdigest()
    cache = folder.absolute() / "cache" / digest[:16]
    damage = _damage(cache, digest)
    if damage and cache.exists():
        print(f"{damage}; {folder} is parsed anew", file=sys.stderr, flush=True)
    if damage:
        _write_cache(cache, partial(_form(folder).read, folder, told), digest)
    return _map_cache(cache)


def layout(folder: Path) -> tables.Layout:
    """Which column is what, and what the images are; a Problem where the rules do not suit them."""
    told = rules.read(folder)
    found = _form(folder).layout(folder, told)
    height, width, _ = found.shape
    if height != width and "quarter turns" in (told.symmetries or ()):
        raise Problem(f"{folder / rules.FILE}: quarter turns need square images; these are {height}x{width}")
    return found


def _form(folder: Path) -> ModuleType:
    """What reads the competition: its images are files or columns."""
    return albums if has_pictures(folder) else tables


def packed(dataset: Dataset) -> bytes:
    """The data set as a zip file, for a machine that does not have it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(dataset.cache.iterdir()):
            archive.write(path, path.name)
    return buffer.getvalue()


def unpacked(path: Path) -> Dataset:
    """The data set that was packed into this file, unpacked beside it."""
    cache = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(cache)
    return _map_cache(cache)


def _write_cache(cache: Path, read: Callable[[tables.Growing], dict[str, np.ndarray]], digest: str) -> None:
    """Write the arrays beside each other, with their checksums in the form of sha256sum."""
    with whole_folder(cache) as temporary:
        for name, array in read(partial(_growing, temporary)).items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / "digest").write_text(digest)
        (temporary / CHECKSUMS).write_text(_checksums(temporary))
        if cache.exists() and _damage(cache, digest):
            shutil.rmtree(cache)  # not before another is there, lest a run that maps it miss it


@contextmanager
def _growing(folder: Path, name: str, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], None]]:
    """An array of bytes in a file, to which rows are added; its header leaves room for their number."""
    rows = 0

    def write_header() -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(file, header)

    def add(images: np.ndarray) -> None:
        nonlocal rows
        rows += len(images)
        file.write(np.ascontiguousarray(images).data)

    with (folder / f"{name}.npy").open("wb") as file:
        write_header()
        yield add
        file.seek(0)
        write_header()


def _damage(cache: Path, digest: str) -> str | None:
    """What is wrong with a cache, in words, or None; what it holds has to be read for that, as fast as the tables."""
    try:
        if (cache / "digest").read_text() != digest:
            return f"{cache / 'digest'} is damaged"
        known = (cache / CHECKSUMS).read_text().splitlines()
        found = _checksums(cache).splitlines()
    except (OSError, ValueError) as error:
        return f"{cache} is damaged ({error})"
    wrong = next((line.split()[1] for line in found if line not in known), None)
    return f"{cache / wrong} is damaged" if wrong else None


def _checksums(cache: Path) -> str:
    return "".join(f"{sha256(cache / f'{name}.npy')}  {name}.npy\n" for name in ARRAYS)


def _map_cache(cache: Path) -> Dataset:
    """The Dataset of a cache; the images stay on disk until they are looked at."""
    arrays = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Dataset(**arrays, digest=(cache / "digest").read_text(), cache=cache)
