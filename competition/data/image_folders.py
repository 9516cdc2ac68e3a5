"""Read a competition whose images are files: folders of images, and CSV files of their names and labels.

`train.csv` has a name and a label for each image in `train/`; the sample submission has the names of the images in
`test/`. Names may omit the suffix and may include subfolders.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from competition.data import tables
from competition.data.config import CONFIG_FILE, Config
from competition.data.csv_files import check_column, read_header, read_numbers
from competition.data.images import GREY, SUFFIXES, open_image, resize_image
from competition.data.sources import FILES, IMAGE_FOLDERS
from competition.errors import UserError
from competition.files import sha256, write_atomically

SUFFIX = re.compile(f"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)
BATCH_BYTES = 2**25  # of decoded images
PROGRESS_STEP = 1_000  # files between two updates of the progress bar
DECODER_VERSION = b"2"  # increment it when decoding changes


def digest_images(folder: Path) -> str:
    """A digest of all image files; it is cached until a file's name, size or modification time changes."""
    listing = hashlib.sha256(DECODER_VERSION)
    images = {name: _find_images(folder / name) for name in IMAGE_FOLDERS}
    for path in (path for paths in images.values() for path in sorted(paths.values())):
        status = path.stat()
        listing.update(f"{path.relative_to(folder)},{status.st_size},{status.st_mtime_ns}\n".encode())
    cache = folder / "cache" / "images.json"
    try:
        if (cached := json.loads(cache.read_text()))["listing"] == listing.hexdigest():
            return cached["content"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hashlib.sha256(DECODER_VERSION)
    for name, image_paths in images.items():
        paths = sorted(image_paths.values())
        for path, checksum in zip(paths, _map_files(sha256, paths, f"checking {folder / name}"), strict=True):
            digest.update(f"{path.relative_to(folder)},{checksum}\n".encode())
    write_atomically(cache, json.dumps({"listing": listing.hexdigest(), "content": digest.hexdigest()}).encode())
    return digest.hexdigest()


def detect_layout(folder: Path, config: Config) -> tables.DataLayout:
    """The roles of the columns, and the shape of the first image; other columns are ignored."""
    train, _, sample = (folder / file for file in FILES)
    columns, sample_columns = read_header(train), read_header(sample)
    tables.check_config_columns(train, columns, config)
    tables.check_sample_columns(sample, sample_columns)
    candidates = [column for column in columns if column != config.group]
    sample_id, sample_label = (column.lower() for column in sample_columns[:2])
    id_column = config.id or next((column for column in candidates if column.lower() == sample_id), "")
    label = config.label or next((column for column in candidates if column.lower() == sample_label), "")
    if len(candidates) == 2:
        id_column = id_column or next((column for column in candidates if column != label), "")
        label = label or next((column for column in candidates if column != id_column), "")
    if not (id_column and label):
        raise UserError(
            f"{train} has columns {', '.join(columns[:4])}; expected a name and a label: "
            f'set label = "...", id = "..." and optionally group = "..." in {folder / CONFIG_FILE}'
        )
    return tables.DataLayout(id_column, label, config.group, [], config.shape or _first_shape(folder, train, id_column))


def read_arrays(folder: Path, config: Config, open_array: tables.OpenArrayFile) -> dict[str, np.ndarray]:
    """The arrays of a Dataset, except images and test images, which are written to the files of `open_array`."""
    train, _, sample = (folder / file for file in FILES)
    layout = detect_layout(folder, config)
    train_table, sample_table = next(read_numbers(train, ())), next(read_numbers(sample, ()))
    arrays = tables.read_training_columns(train, train_table, layout, sample)
    sources = (
        ("images", train, train_table[layout.id], folder / "train"),
        ("test_images", sample, sample_table.iloc[:, 0], folder / "test"),
    )
    for array, table, names, image_folder in sources:
        paths = _image_paths(table, names, image_folder)
        with open_array(array, layout.shape) as append:
            for batch in _read_batches(paths, layout.shape, bool(config.shape), folder):
                append(batch)
    return {**arrays, "test_ids": tables.read_ids(sample, sample_table, sample_table.columns[0])}


def _first_shape(folder: Path, train: Path, id_column: str) -> tuple[int, ...]:
    path = _image_paths(train, next(read_numbers(train, (), 1))[id_column], folder / "train")[0]
    image = open_image(path)
    return image.height, image.width, 1 if image.mode in GREY else 3


def _find_images(folder: Path) -> dict[str, Path]:
    """The image files in a folder, by their name without suffix."""
    images: dict[str, Path] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in images:
                raise UserError(f"{path} and {images[name].name} differ only in their extension; remove one")
            images[name] = path
    return images


def _image_paths(table: Path, column: pd.Series, folder: Path) -> list[Path]:
    """The image file of each row."""
    images = _find_images(folder)
    names = column.fillna("").str.strip().str.replace(SUFFIX, "", regex=True)
    names = names.where(names.isin(images.keys()), names.str.removeprefix(f"{folder.name}/"))
    check_column(table, column, names.isin(images.keys()), f"the name of an image in {folder}")
    return [images[name] for name in names]


def _read_batches(paths: list[Path], shape: tuple[int, ...], resize: bool, folder: Path) -> Iterator[np.ndarray]:
    """Yield the images in batches (rows, height, width, channels)."""
    height, width, channels = shape

    def read_pixels(path: Path) -> np.ndarray:
        image = open_image(path)
        if not resize and (image.size != (width, height) or (channels == 1 and image.mode not in GREY)):
            raise UserError(
                f"{path} has {image.height}x{image.width} pixels ({image.mode}), but {paths[0].name} has "
                f"{'x'.join(map(str, shape))}; to resize all images, set a shape in {folder / CONFIG_FILE}, "
                f"e.g. shape = {[*shape[:2], 3]}"
            )
        return resize_image(image.convert("L" if channels == 1 else "RGB"), width, height)

    rows = max(1, BATCH_BYTES // (height * width * channels))
    images = _map_files(read_pixels, paths, f"reading {paths[0].parent}")
    while batch := list(islice(images, rows)):
        yield np.stack(batch).reshape(-1, *shape)


def _map_files(function: Callable[[Path], Any], paths: list[Path], description: str) -> Iterator[Any]:
    """Map a function over files in threads, and show a progress bar."""
    steps = [paths[start : start + PROGRESS_STEP] for start in range(0, len(paths), PROGRESS_STEP)]
    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for step in track(steps, description, console=console, transient=True, disable=not console.is_terminal):
            yield from threads.map(function, step)
