"""Load a competition's files as arrays.

The files are parsed once into a cache, named after their digest, which later runs map into memory.
"""

import hashlib
import io
import json
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
from typing import Any

import numpy as np

from competition.data import image_files, tables
from competition.data.config import CONFIG_FILE, Config, read_config
from competition.data.features import Features
from competition.data.inventory import list_files
from competition.data.layout import LAYOUT_FILE, Layout
from competition.errors import UserError
from competition.files import atomic_folder, find_damage, sha256, write_checksums

CACHE_FORMAT = 2  # increment it when the content of the cache changes
FEATURES_FILE = "features.json"  # of a packed Dataset
ARRAYS = (
    "images",
    "labels",
    "classes",
    "train_ids",
    "groups",
    "columns",
    "test_images",
    "test_ids",
    "test_columns",
    "column_names",
)
CACHE_FILES = (*(f"{name}.npy" for name in ARRAYS), LAYOUT_FILE)

ReadArrays = Callable[[tables.OpenArrayFile], tuple[dict[str, np.ndarray], Layout]]


@dataclass(frozen=True)
class Dataset:
    """A competition's data. Images are (rows, height, width, channels); `targets.target_kind` tells what labels are."""

    images: np.ndarray  # uint8, memory-mapped
    labels: np.ndarray  # indices into `classes`; several per image: 0 or 1 for each of them; or the numbers to predict
    classes: np.ndarray  # the competition's own labels, sorted; the name of the target if it is a number
    train_ids: np.ndarray  # the id column, or row numbers from 1 if there is none
    groups: np.ndarray  # rows of the same group are held out together; by default each row has its own
    columns: np.ndarray  # float32 (rows, columns): what the tables tell about the images; NaN where unknown
    test_images: np.ndarray
    test_ids: np.ndarray  # in the order of the test images; the submission is joined on them
    test_columns: np.ndarray
    column_names: np.ndarray  # of `columns` and `test_columns`
    digest: str
    cache: Path
    features: Features | None = None  # of a pretrained network, if the competition uses one

    @property
    def summary(self) -> str:
        """Number and size of the images, in words."""
        rows, height, width, channels = self.images.shape
        colour = " in colour" if channels > 1 else ""
        return f"{rows:,} training and {len(self.test_ids):,} test images of {width}x{height} pixels{colour}"

    @property
    def layout(self) -> Layout:
        """What was inferred from the files."""
        return Layout.load(self.cache)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the path of the cache, so that all workers map the same copy."""
        return _map_cache, (self.cache, self.features)


def load_dataset(folder: Path, config: Config | None = None) -> Dataset:
    """The validated Dataset of the competition in `folder`, mapped from its cache or parsed into it."""
    config = config or read_config(folder)
    inventory = list_files(folder)
    if tables.has_image_files(inventory):
        rows = image_files.read_rows(inventory, config)
        files, read = rows.tables, partial(image_files.write_images, rows, config)
        parts = [image_files.digest_images(rows)]
    else:
        files, read, parts = tables.used_tables(inventory, config), partial(tables.read_arrays, inventory, config), []
    for path in files:
        if not path.is_file():
            raise UserError(f"{path} is not a file; move it away and put the competition's {path.name} there")
        if not os.access(path, os.R_OK):
            raise UserError(f"{path} is not readable; allow it: {shlex.join(['chmod', 'u+r', str(path)])}")
    parts = [f"{CACHE_FORMAT}", *map(sha256, files), config.data_settings, *parts]
    digest = hashlib.sha256("".join(parts).encode()).hexdigest()
    cache = folder.absolute() / "cache" / digest[:16]
    damage = _find_damage(cache, digest)
    if damage and cache.exists():
        print(f"{damage}; parsing {folder} again", file=sys.stderr, flush=True)
    if damage:
        _write_cache(cache, read, digest)
    dataset = _map_cache(cache)
    check_symmetries(folder, dataset.images.shape[1:], config)
    return dataset


def check_symmetries(folder: Path, shape: tuple[int, ...], config: Config) -> None:
    """Raise UserError if the configured symmetries do not suit the shape of the images."""
    if shape[0] != shape[1] and "quarter turns" in (config.symmetries or ()):
        raise UserError(
            f"{folder / CONFIG_FILE}: quarter turns need square images, but these are {shape[0]}x{shape[1]}; "
            'remove "quarter turns" from symmetries'
        )


def require_features(dataset: Dataset) -> Features:
    """The Dataset's features, or an error if the competition uses no pretrained network."""
    if not dataset.features:
        raise UserError(
            f"{dataset.cache.parents[1]} uses no pretrained network; set pretrained = true in {CONFIG_FILE}"
        )
    return dataset.features


def package_name(dataset: Dataset) -> str:
    """The name of the packed Dataset, which differs with its content."""
    features = dataset.features
    return f"{dataset.digest}-{features.digest}" if features and features.are_complete else dataset.digest


def pack_dataset(dataset: Dataset) -> bytes:
    """The Dataset with its features as the bytes of a zip file, to send it to another machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(dataset.cache.iterdir()):
            archive.write(path, path.name)
        if dataset.features and dataset.features.are_complete:
            description = {"digest": dataset.features.digest, "dimensions": dataset.features.dimensions}
            archive.writestr(FEATURES_FILE, json.dumps(description))
            for path in sorted(dataset.features.folder.iterdir()):
                archive.write(path, f"features/{path.name}")
    return buffer.getvalue()


def unpack_dataset(path: Path) -> Dataset:
    """Unpack the zip file of a Dataset into the same folder, unless that was done before, and load it."""
    cache = path.with_suffix("")
    if not cache.exists():
        with zipfile.ZipFile(path) as archive, atomic_folder(cache) as temporary:
            archive.extractall(temporary)
    description = cache / FEATURES_FILE
    features = Features(cache / "features", **json.loads(description.read_text())) if description.exists() else None
    return _map_cache(cache, features)


def _write_cache(cache: Path, read: ReadArrays, digest: str) -> None:
    """Write all arrays and a file of their checksums, in the format of sha256sum."""
    with atomic_folder(cache) as temporary:
        arrays, layout = read(partial(_open_array_file, temporary))
        layout.save(temporary)
        for name, array in {**_no_columns(arrays), **arrays}.items():
            _save_array(temporary / f"{name}.npy", array)
        (temporary / "digest").write_text(digest)
        write_checksums(temporary, CACHE_FILES)
        if cache.exists() and _find_damage(cache, digest):
            shutil.rmtree(cache)  # only once the replacement is complete, since other runs may map the old one


def _no_columns(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a competition that has nothing but images."""
    return {
        "columns": np.empty((len(arrays["labels"]), 0), dtype=np.float32),
        "test_columns": np.empty((len(arrays["test_ids"]), 0), dtype=np.float32),
        "column_names": np.empty(0, dtype=str),
    }


def _save_array(path: Path, array: np.ndarray) -> None:
    """Save as `np.save` does, but with the system's own error if the disk is full or fails."""
    array = np.asarray(array, order="C")
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.tobytes())


@contextmanager
def _open_array_file(folder: Path, name: str, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], None]]:
    """Create a .npy file of uint8 and yield a function that appends rows; the header is padded for the final shape."""
    rows = 0

    def write_header() -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(file, header)

    def append(images: np.ndarray) -> None:
        nonlocal rows
        rows += len(images)
        file.write(np.ascontiguousarray(images).data)

    with (folder / f"{name}.npy").open("wb") as file:
        write_header()
        yield append
        file.seek(0)
        write_header()


def _find_damage(cache: Path, digest: str) -> str | None:
    """Describe what is wrong with the cache, or None; reads all arrays to compare their checksums."""
    try:
        if (cache / "digest").read_text() != digest:
            return f"{cache / 'digest'} is damaged"
    except (OSError, ValueError) as error:
        return f"{cache} is damaged ({error})"
    return find_damage(cache, CACHE_FILES)


def _map_cache(cache: Path, features: Features | None = None) -> Dataset:
    """The Dataset in the cache; the images stay on disk until they are read."""
    arrays = {name: np.load(cache / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    return Dataset(**arrays, digest=(cache / "digest").read_text(), cache=cache, features=features)
