"""A competition whose images are files: folders of pictures, and tables of their names and labels.

`train.csv` has a name and a label, `train/` the pictures of these names; the sample submission has the names of those
in `test/`. Names may leave out the suffix, and may lead into further folders.
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
from competition.data.config import FILE, Rules
from competition.data.csv_files import bad_value, header, numbers
from competition.data.pictures import GREY, SUFFIXES, opened, scaled
from competition.data.sources import FILES, FOLDERS
from competition.errors import Problem
from competition.files import sha256, write_whole

SUFFIX = re.compile(f"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)
AT_A_TIME = 2**25  # bytes of decoded pictures
SHARE = 1_000  # files that are looked at before the bar moves
DECODED = b"2"  # how pictures become arrays; raise it when that changes


def content(folder: Path) -> str:
    """A digest of all pictures; they are read for it once, and again when a name, a size or a time has changed."""
    listing = hashlib.sha256(DECODED)
    pictures = {name: _pictures(folder / name) for name in FOLDERS}
    for path in (path for found in pictures.values() for path in sorted(found.values())):
        told = path.stat()
        listing.update(f"{path.relative_to(folder)},{told.st_size},{told.st_mtime_ns}\n".encode())
    known = folder / "cache" / "pictures.json"
    try:
        if (before := json.loads(known.read_text()))["listing"] == listing.hexdigest():
            return before["content"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hashlib.sha256(DECODED)
    for name, found in pictures.items():
        paths = sorted(found.values())
        for path, one in zip(paths, _each(sha256, paths, f"looking at {folder / name}"), strict=True):
            digest.update(f"{path.relative_to(folder)},{one}\n".encode())
    write_whole(known, json.dumps({"listing": listing.hexdigest(), "content": digest.hexdigest()}).encode())
    return digest.hexdigest()


def layout(folder: Path, rules: Rules) -> tables.Layout:
    """Which column is what, columns that say nothing of it left alone; the shape is that of the first picture."""
    train, _, sample = (folder / file for file in FILES)
    columns, asked = header(train), header(sample)
    tables.require_columns(train, columns, rules)
    tables.require_answer(sample, asked)
    rest = [column for column in columns if column != rules.group]
    named = rules.id or next((column for column in rest if column.lower() == asked[0].lower()), "")
    label = rules.label or next((column for column in rest if column.lower() == asked[1].lower()), "")
    if len(rest) == 2:
        named = named or next((column for column in rest if column != label), "")
        label = label or next((column for column in rest if column != named), "")
    if not (named and label):
        remedy = f'label = "...", id = "..." and, if there is one, group = "..." in {folder / FILE}'
        raise Problem(f"{train} has columns {', '.join(columns[:4])}; a name and a label were expected: tell {remedy}")
    return tables.Layout(named, label, rules.group, [], rules.shape or _shape_of(folder, train, named))


def read(folder: Path, rules: Rules, growing: tables.Growing) -> dict[str, np.ndarray]:
    """The arrays of a Dataset, the pictures added to those that grow."""
    train, _, sample = (folder / file for file in FILES)
    columns = layout(folder, rules)
    taught, asked = next(numbers(train, ())), next(numbers(sample, ()))
    described = tables.described(train, taught, columns, sample)
    names = (("images", train, taught[columns.id], "train"), ("test_images", sample, asked.iloc[:, 0], "test"))
    for name, table, column, place in names:
        paths = _paths(table, column, folder / place)
        with growing(name, columns.shape) as add:
            for block in _blocks(paths, columns.shape, bool(rules.shape), folder):
                add(block)
    return {**described, "test_ids": tables.ids(sample, asked, asked.columns[0])}


def _shape_of(folder: Path, train: Path, named: str) -> tuple[int, ...]:
    first = _paths(train, next(numbers(train, (), 1))[named], folder / "train")[0]
    picture = opened(first)
    return picture.height, picture.width, 1 if picture.mode in GREY else 3


def _pictures(folder: Path) -> dict[str, Path]:
    """The pictures in a folder, by name without suffix."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise Problem(f"{path} and {found[name].name} have the same name; leave one of them")
            found[name] = path
    return found


def _paths(table: Path, column: pd.Series, folder: Path) -> list[Path]:
    """The picture of each row."""
    there = _pictures(folder)
    names = column.fillna("").str.strip().str.replace(SUFFIX, "", regex=True)
    names = names.where(names.isin(there.keys()), names.str.removeprefix(f"{folder.name}/"))
    missing = ~names.isin(there.keys()).to_numpy()
    if missing.any():
        row = int(missing.argmax())
        raise bad_value(table, row, column.name, column.iat[row], f"the name of a picture in {folder}")
    return [there[name] for name in names]


def _blocks(paths: list[Path], shape: tuple[int, ...], resized: bool, folder: Path) -> Iterator[np.ndarray]:
    """The pictures as arrays, some at a time."""
    height, width, channels = shape

    def pixels(path: Path) -> np.ndarray:
        picture = opened(path)
        if not resized and (picture.size != (width, height) or (channels == 1 and picture.mode not in GREY)):
            is_like = f"{'x'.join(map(str, shape))}, as {paths[0].name} is"
            remedy = f"tell a shape in {folder / FILE}, such as shape = {[*shape[:2], 3]}, and all are brought into it"
            raise Problem(
                f"{path} has {picture.width}x{picture.height} pixels ({picture.mode}), not {is_like}; {remedy}"
            )
        return scaled(picture.convert("L" if channels == 1 else "RGB"), width, height)

    rows = max(1, AT_A_TIME // (height * width * channels))
    images = _each(pixels, paths, f"reading {paths[0].parent}")
    while block := list(islice(images, rows)):
        yield np.stack(block).reshape(-1, *shape)


def _each(what: Callable[[Path], Any], paths: list[Path], telling: str) -> Iterator[Any]:
    """What becomes of each file, on all cores, with a bar that tells how long it takes."""
    parts = [paths[start : start + SHARE] for start in range(0, len(paths), SHARE)]
    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for part in track(parts, telling, console=console, transient=True, disable=not console.is_terminal):
            yield from threads.map(what, part)
