"""Make sure that a competition's files are there: unpack archives, generate practice data or download.

A competition is a folder with Kaggle's files, as they are downloaded or unpacked in any way. The practice competitions
`digits`, `digits8` and `mnist` are made here; their held-back test labels are read only by
`competition.submission.grading`. Any other competition is downloaded from Kaggle under its name there.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from competition.data import kaggle
from competition.data.archives import find_archives, unpack_archives
from competition.data.csv_files import read_header
from competition.data.inventory import FILES, Inventory, list_files
from competition.data.practice import is_practice, make_digits, make_digits8, make_mnist
from competition.data.tables import has_image_files, has_pixels
from competition.errors import UserError, option
from competition.files import atomic_file, write_atomically

UNPACKED = "cache/unpacked.json"  # the archives that were unpacked, and what they have besides tables and images
UNSUPPORTED = {
    ".tfrec": "TFRecord files",
    ".tfrecord": "TFRecord files",
    ".parquet": "Parquet files",
    ".dcm": "DICOM files",
    ".npy": "NumPy files",
}
KAGGLE_NAME = r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*"
MIN_CELL_PIXELS = 16  # numbers in a cell that holds an image


def ensure_files(name: str, folder: Path) -> None:
    """Make sure that `folder` contains the competition's files; existing files are never changed."""
    inventory = list_files(folder)
    if not _is_complete(inventory) and find_archives(folder):
        ignored = unpack_archives(folder)
        inventory = list_files(folder)
        if inventory.images or ignored.keys() & UNSUPPORTED.keys() or None not in _pixel_tables(inventory):
            record = {"archives": _describe_archives(folder), "ignored": ignored}
            write_atomically(folder / UNPACKED, json.dumps(record).encode())
    _reject_unsupported(inventory)
    if _is_complete(inventory):
        _write_missing_sample(inventory)
        return
    missing = [file for file, path in zip(FILES, _pixel_tables(inventory), strict=True) if path is None]
    for path in (folder / file for file in missing):
        if path.exists():
            raise UserError(f"{path} is not a file; move it away and put the competition's {path.name} there")
    if len(missing) < len(FILES) and not is_practice(folder):
        raise UserError(f"{folder} is missing {', '.join(missing)}; add {'it' if len(missing) == 1 else 'them'}")
    if name in KNOWN_COMPETITIONS:
        KNOWN_COMPETITIONS[name](folder)
    else:
        _download_competition(name, folder)
        ensure_files(name, folder)


def _download_competition(name: str, folder: Path) -> None:
    """Download the archive of a competition on Kaggle; it is unpacked by the caller."""
    archive, remedy = folder / f"{name}.zip", f"put {', '.join(FILES)} there"
    if archive.exists():
        raise UserError(f"{archive} has neither images nor tables of pixels; {remedy}")
    practice = f"set {option('competition')} to one of {', '.join(KNOWN_COMPETITIONS)}, which are practice competitions"
    if not re.fullmatch(KAGGLE_NAME, name):
        raise UserError(f"{folder} contains no competition files; {remedy}, or {practice}")
    try:
        kaggle.download_competition(name, folder)
    except UserError as error:
        problem = f"{folder} contains no competition files, and they could not be downloaded"
        raise UserError(f"{problem}: {error}; or {remedy}; or {practice}") from None


def _is_complete(inventory: Inventory) -> bool:
    """Whether nothing has to be unpacked or downloaded before the competition can be read."""
    if has_image_files(inventory):
        return not _has_new_archives(inventory.folder)
    tables = [path for path in _pixel_tables(inventory) if path]
    if len(tables) < len(FILES) and not _is_labelled_test(inventory):
        return False
    return not _has_new_archives(inventory.folder) or has_pixels(tables[0])


def _pixel_tables(inventory: Inventory) -> tuple[Path | None, Path | None, Path | None]:
    return inventory.table("train"), inventory.table("test"), inventory.sample


def _has_new_archives(folder: Path) -> bool:
    """Whether there are archives that were not unpacked yet."""
    archives = _describe_archives(folder)
    return bool(archives) and archives != _read_unpacked(folder).get("archives")


def _describe_archives(folder: Path) -> dict[str, list[int]]:
    """The size and the time of each archive."""
    statuses = ((path.name, path.stat()) for path in find_archives(folder))
    return {name: [status.st_size, status.st_mtime_ns] for name, status in statuses}


def _read_unpacked(folder: Path) -> dict[str, Any]:
    """What is known of the archives that were unpacked; nothing if the record is damaged."""
    try:
        return json.loads((folder / UNPACKED).read_text())
    except (OSError, ValueError):
        return {}


def _is_labelled_test(inventory: Inventory) -> bool:
    """Whether the test table has labels and there is no sample submission, as in a dataset made for research."""
    train, test, sample = _pixel_tables(inventory)
    if sample or not train or not test or has_image_files(inventory):
        return False
    return read_header(train) == read_header(test) and has_pixels(train) and not read_header(train)[0][-1:].isdigit()


def _write_missing_sample(inventory: Inventory) -> None:
    """Write a sample submission where a dataset has none."""
    if _is_labelled_test(inventory):
        test = inventory.table("test")
        assert test
        label, rows = read_header(test)[0], len(pd.read_csv(test, usecols=[0]))
        sample = pd.DataFrame({"ImageId": range(1, rows + 1), label: 0})
        path = inventory.folder / FILES[2]
        with atomic_file(path) as temporary:
            sample.to_csv(temporary, index=False, lineterminator="\n")
        print(f"{path} was missing and is written; the labels in {test.name} are not used", flush=True)


def _reject_unsupported(inventory: Inventory) -> None:
    """Raise UserError if the images are in files or cells that cannot be read."""
    train = inventory.table("train")
    if inventory.images or (train and has_pixels(train)):
        return
    found = inventory.others + Counter(_read_unpacked(inventory.folder).get("ignored", {}))
    names = sorted({UNSUPPORTED[suffix] for suffix in found if suffix in UNSUPPORTED})
    if names:
        raise UserError(
            f"{inventory.folder} has its images only as {' and '.join(names)}, which are not supported; "
            "convert them to PNG files, or choose another competition"
        )
    for path in inventory.tables:
        if path != inventory.sample and (column := _cell_images(path, read_header(path))):
            raise UserError(
                f"{path} has images as numbers in the cells of column {column}, which is not supported; "
                "write a column for each pixel, or choose another competition"
            )


def _cell_images(path: Path, columns: Sequence[str]) -> str:
    """The column whose cells hold all pixels of an image; empty if there is none."""
    try:  # by pandas, since the cells of `csv` are limited to 131,072 characters
        table = pd.read_csv(
            path, nrows=1, header=None, skiprows=1, dtype=str, keep_default_na=False, encoding_errors="replace"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        return ""
    cells = table.iloc[0].tolist() if len(table) else []
    counts = {column: len(cell.split()) for column, cell in zip(columns, cells, strict=False)}
    return next((column for column in columns if counts.get(column, 0) >= MIN_CELL_PIXELS), "")


# Practice competitions; all others are downloaded from Kaggle.
KNOWN_COMPETITIONS: dict[str, Callable[[Path], None]] = {
    "digits": make_digits,
    "digits8": make_digits8,
    "mnist": make_mnist,
}
