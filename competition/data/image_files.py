"""Read a competition whose images are files.

The sample submission lists the test images. The labels of the training images are found in a table, by its columns and
whatever its name, or in the names of folders or files.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from competition.data import label_tables, side_columns
from competition.data.config import CONFIG_FILE, Config
from competition.data.csv_files import check_column, read_header, read_text
from competition.data.image_index import ImageIndex, part_of
from competition.data.image_size import choose_shape, median_side, read_image
from competition.data.inventory import Inventory
from competition.data.label_tables import LabelTable
from competition.data.labels import Labels
from competition.data.layout import Layout
from competition.data.progress_bar import show_progress
from competition.data.tables import OpenArrayFile, check_sample_columns, read_groups, read_ids
from competition.errors import UserError, shorten_list
from competition.files import sha256, write_atomically

BATCH_BYTES = 2**25  # of decoded images
PROGRESS_STEP = 1_000  # files between two updates of the progress bar
DECODER_VERSION = b"4"  # increment it when decoding changes
COMPARED_COPIES = 5  # images, of which there are several files
MAX_DIFFERENCE = 16.0  # of the brightness of copies, on average; compression and scaling cause less
CLASS_PREFIX = re.compile(r"([^\W\d_]+)[._ -]?\d+$")  # of cat.0 and dog_12


@dataclass(frozen=True)
class ImageCompetition:
    """The rows of a competition of image files; images are paths relative to its folder."""

    folder: Path
    tables: list[Path]  # that were read
    images: list[str]
    test_images: list[str]
    arrays: dict[str, np.ndarray]  # of the Dataset, except images
    layout: Layout

    @property
    def used(self) -> list[str]:
        """All image files, in alphabetical order."""
        return sorted({*self.images, *self.test_images})


def read_rows(inventory: Inventory, config: Config) -> ImageCompetition:
    """Read the tables and find the image of each row."""
    folder, index = inventory.folder, ImageIndex(inventory.images)
    if config.extra:
        raise UserError(
            f"{folder / CONFIG_FILE}: extra adds tables of pixels, but the images of this competition are files; "
            "add the rows to the table of labels"
        )
    sample, sample_table = _read_sample(inventory)
    test_names = sample_table.iloc[:, 0].fillna("") if sample_table is not None else pd.Series([], dtype=str)
    test_images = index.find(test_names.tolist(), "test")
    if sample and not any(test_images):
        raise UserError(
            f"{sample}: row 1: {test_names.iat[0]!r} is not the name of an image in {folder}; "
            "competitions that ask for pixels, boxes or several rows per image are not supported"
        )
    if sample:
        is_image = np.array([bool(path) for path in test_images])
        check_column(sample, test_names, is_image, f"the name of an image in {folder}")
    found = label_tables.find_label_table(inventory, index, sample_table, test_images, config)
    labelled = _rows_of_table(found, folder, config) if found else _rows_of_names(inventory, test_images)
    if labelled is None:
        raise UserError(
            f"{folder} has image files such as {next(iter(inventory.images))}, but neither a table with their names "
            "and labels nor a folder for each class; put the table there"
        )
    ids = read_ids(sample, sample_table, sample_table.columns[0]) if sample and sample_table is not None else None
    _check_copies(index, labelled.images, folder)
    arrays = {**labelled.arrays, "test_ids": np.empty(0, np.int64) if ids is None else ids}
    tables = [path for path in (sample, found and found.path, found and found.test_path) if path]
    shown = str(sample.relative_to(folder)) if sample else ""
    layout = Layout(labelled.source, shown, labelled.group, labelled.notes)
    return ImageCompetition(folder, tables, labelled.images, test_images, arrays, layout)


def write_images(
    rows: ImageCompetition, config: Config, open_array: OpenArrayFile
) -> tuple[dict[str, np.ndarray], Layout]:
    """Decode the images into the files of `open_array`; return the other arrays and the layout."""
    folder = rows.folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about metadata; pixels that cannot be read are an error
        paths = [folder / path for path in rows.images]
        shape, note = choose_shape(paths, config)
        for name, images in (("images", rows.images), ("test_images", rows.test_images)):
            with open_array(name, shape) as append:
                for batch in _read_batches([folder / path for path in images], shape):
                    append(batch)
    notes = [*rows.layout.notes, *([note] if note else [])]
    return rows.arrays, replace(rows.layout, notes=notes, image_side=median_side(paths))


def digest_images(rows: ImageCompetition) -> str:
    """A digest of all image files; it is cached until a file's name, size or modification time changes."""
    folder = rows.folder
    listing, images = hashlib.sha256(DECODER_VERSION), rows.used
    for path in images:
        status = (folder / path).stat()
        listing.update(f"{path},{status.st_size},{status.st_mtime_ns}\n".encode())
    cache = folder / "cache" / "images.json"
    try:
        if (cached := json.loads(cache.read_text()))["listing"] == listing.hexdigest():
            return cached["content"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hashlib.sha256(DECODER_VERSION)
    checksums = _map_files(sha256, [folder / path for path in images], f"checking {folder}")
    for path, checksum in zip(images, checksums, strict=True):
        digest.update(f"{path},{checksum}\n".encode())
    write_atomically(cache, json.dumps({"listing": listing.hexdigest(), "content": digest.hexdigest()}).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Labelled:
    """The training rows."""

    images: list[str]
    arrays: dict[str, np.ndarray]
    source: str
    group: str
    notes: list[str]


def _read_sample(inventory: Inventory) -> tuple[Path | None, pd.DataFrame | None]:
    """The sample submission; it may be missing only where there are no test images."""
    sample = inventory.sample
    if sample:
        check_sample_columns(sample, read_header(sample))
        return sample, read_text(sample)
    if test_image := next((path for path in inventory.images if part_of(path) == "test"), None):
        raise UserError(
            f"{inventory.folder / 'sample_submission.csv'} is missing, but there are test images such as {test_image}; "
            "put it there, or move the test images away"
        )
    return None, None


def _rows_of_table(found: LabelTable, folder: Path, config: Config) -> _Labelled:
    """The training rows of a table of labels."""
    table, path, images = found.table, found.path, found.images
    names = table[found.id].fillna("")
    check_column(path, names, np.array([bool(image) for image in images]), f"the name of an image in {folder}")
    ids = read_ids(path, table, found.id)
    others = table.drop(columns=[found.id, *found.label_columns]).replace("", np.nan)
    test = None if found.test_table is None else found.test_table.replace("", np.nan)
    group = _group_column(others, test, found.labels, config)
    arrays = {
        "labels": found.labels.values,
        "classes": found.labels.classes,
        "train_ids": ids,
        "groups": read_groups(path, table, group),
    }
    notes, others = [], others.drop(columns=group) if group else others
    if config.group is False and (left := side_columns.find_group_column(others, test)):
        notes.append(f"column {left} is not used for groups, because {CONFIG_FILE} says group = false")
    if not group and config.group == "":
        notes += side_columns.explain_unused_groups(others)
    common = [name for name in others.columns if test is not None and name in test.columns]
    only_train = [name for name in others.columns if name not in common]
    leaks = side_columns.find_leaks(others[only_train], found.labels.values)
    if leaks:
        notes.append(f"not used, since test rows lack them and they reveal the label: {shorten_list(leaks, 12)}")
    if ignored := [name for name in only_train if name not in leaks]:
        notes.append(f"ignored, because test rows lack them: {shorten_list(ignored, 12)}")
    if common and test is not None:
        features = side_columns.encode_columns(others[common], test)
        arrays |= {
            "columns": features.train,
            "test_columns": features.test,
            "column_names": np.array(features.names, dtype=str),
        }
        if features.names:
            count, plural = len(features.names), "s" * (len(features.names) != 1)
            notes.append(f"{count} feature{plural} from columns: {shorten_list(common, 8)}")
        if features.left_out:
            notes.append(f"ignored columns, with too many different texts: {shorten_list(features.left_out, 8)}")
    shown = path.relative_to(folder)
    source = f"column {found.label_columns[0]} of {shown}"
    if len(found.label_columns) > 1:
        source = f"columns {shorten_list(found.label_columns, 3)} of {shown}"
    return _Labelled(images, arrays, source, group, [*notes, *found.notes])


def _group_column(others: pd.DataFrame, test: pd.DataFrame | None, labels: Labels, config: Config) -> str:
    """The configured or recognized column of groups; empty if there is none."""
    if config.group is False:
        return ""
    if config.group:
        return config.group
    leaks = [] if test is not None else side_columns.find_leaks(others, labels.values)
    named = side_columns.find_group_column(others, None)
    return named or side_columns.find_group_column(others.drop(columns=leaks), test)


def _rows_of_names(inventory: Inventory, test_images: Sequence[str]) -> _Labelled | None:
    """The training rows where a folder or the beginning of each file's name is the label."""
    used = set(test_images)
    images = [path for path in inventory.images if path not in used and part_of(path) != "test"]
    notes = []
    if len(images) < len(inventory.images) or all(part_of(path) for path in images):
        # Without test images, a folder named train is a class like others.
        in_train = [path for path in images if part_of(path) == "train"]
        if in_train and (left := len(images) - len(in_train)):
            notes.append(f"{left:,} images outside of the training folder are not used")
        images = in_train or images
    folders = _class_folders(images)
    prefixes = [match[1] if (match := CLASS_PREFIX.match(PurePosixPath(path).stem)) else "" for path in images]
    for names, source in ((folders, "folder names"), (prefixes, "the beginning of file names")):
        if len(set(names)) > 1 and all(names):
            classes, labels = np.unique(names, return_inverse=True)
            ids = np.array([PurePosixPath(path).name for path in images])
            if len(set(ids)) < len(ids):
                ids = np.array(images)
            arrays = {
                "labels": labels.astype(np.int64),
                "classes": classes,
                "train_ids": ids,
                "groups": np.arange(len(images)),
            }
            counts = [f"{name} ({count:,})" for name, count in zip(classes, np.bincount(labels), strict=True)]
            notes.append(f"images of each class: {shorten_list(counts, 12)}")
            return _Labelled(images, arrays, source, "", notes)
    return None


def _class_folders(images: Sequence[str]) -> list[str]:
    """The folder of each image on the first level where the images are in different folders; empty without one."""
    parents = [PurePosixPath(path).parts[:-1] for path in images]
    level = 0
    while parents and all(len(parts) > level for parts in parents) and len({parts[level] for parts in parents}) == 1:
        level += 1
    return [parts[level] if len(parts) > level else "" for parts in parents]


def _check_copies(index: ImageIndex, images: Sequence[str], folder: Path) -> None:
    """Raise UserError if images of the same name in other folders are different pictures, such as masks."""
    chosen = set(images)
    for path in images[:: max(1, len(images) // COMPARED_COPIES)]:
        for other in index.candidates(PurePosixPath(path).name, "train"):
            if other not in chosen and not _are_alike(folder, path, other):
                raise UserError(
                    f"{folder}: {path} and {other} have the same name but are different pictures; "
                    "move away the folder that does not belong to the competition"
                )


def _are_alike(folder: Path, path: str, other: str) -> bool:
    """Whether two files show the same picture, perhaps in other sizes and formats."""
    first, second = (read_image(folder / name, (16, 16, 1)).astype(float) for name in (path, other))
    return bool(abs(first - second).mean() < MAX_DIFFERENCE)


def _read_batches(paths: list[Path], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the images in batches (rows, height, width, channels)."""
    if not paths:
        return
    rows = max(1, BATCH_BYTES // int(np.prod(shape)))
    images = _map_files(lambda path: read_image(path, shape), paths, f"reading {paths[0].parent}")
    while batch := list(islice(images, rows)):
        yield np.stack(batch).reshape(-1, *shape)


def _map_files(function: Callable[[Path], Any], paths: list[Path], description: str) -> Iterator[Any]:
    """Map a function over files in threads, and show a progress bar."""
    steps = [paths[start : start + PROGRESS_STEP] for start in range(0, len(paths), PROGRESS_STEP)]
    with ThreadPoolExecutor(cpu_count()) as threads:
        for step in show_progress(steps, description):
            yield from threads.map(function, step)
