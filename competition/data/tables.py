"""Read and validate a competition's three CSV files, with one pixel per column.

Unless configured otherwise, the label is the column that only `train.csv` has, the id is the first column of the sample
submission, and the others are the pixels, in order, of a square image with one or three channels.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import CONFIG_FILE, Config
from competition.data.csv_files import check_column, check_values, invalid_value, read_header, read_numbers, read_text
from competition.data.inventory import FILES, Inventory
from competition.data.labels import encode_column
from competition.data.layout import Layout
from competition.data.side_columns import find_group_column
from competition.errors import UserError, command, shorten_list

# Opens the file of an array, by its name and the shape of an image, and yields a function that appends images.
OpenArrayFile = Callable[[str, tuple[int, ...]], AbstractContextManager[Callable[[np.ndarray], None]]]

CHUNK_PIXELS = 2**25  # parsed at a time; eight bytes each
MAX_PIXEL = 255
MIN_PIXELS = 4  # per image
PIXEL_SHARE = 0.9  # of the columns of a table of pixels
MAX_STRAY_COLUMNS = 3  # up to this many columns among the pixels are reported as strays
PLAIN_INTEGER = r"0|-?[1-9][0-9]{0,14}"  # at most 15 digits, so exact as a float; no leading zeros
NUMBERED = r"(\D*)(\d{1,9})"


@dataclass(frozen=True)
class ColumnRoles:
    """The roles of the columns, and the shape of the images."""

    id: str
    label: str
    group: str  # empty: no groups
    pixels: list[str]
    shape: tuple[int, ...]  # (height, width, channels)


def has_pixel_tables(inventory: Inventory) -> bool:
    """Whether the images are in tables of pixels, whatever pictures there are as well."""
    train, test = inventory.table("train"), inventory.table("test")
    return train is not None and test is not None and has_pixels(train) and has_pixels(test)


def has_image_files(inventory: Inventory) -> bool:
    """Whether the images are files; image files alongside tables of pixels are ignored."""
    return bool(inventory.images) and not has_pixel_tables(inventory)


def has_pixels(table: Path) -> bool:
    """Whether nearly all columns of the table are pixels: their names differ only in a number."""
    try:
        columns = read_header(table)
    except UserError:
        return True  # is explained when it is read
    prefixes = Counter(column.rstrip("0123456789") for column in columns if column[-1:].isdigit())
    return bool(prefixes) and prefixes.most_common(1)[0][1] >= PIXEL_SHARE * len(columns)


def find_tables(inventory: Inventory) -> tuple[Path, Path, Path]:
    """The tables of training and test rows, and the sample submission; raises UserError if one is missing."""
    train, test, sample = inventory.table("train"), inventory.table("test"), inventory.sample
    if train and test and sample:
        return train, test, sample
    missing = next(file for file, path in zip(FILES, (train, test, sample), strict=True) if not path)
    remedy = command("data", competition=inventory.folder.name)
    raise UserError(f"{inventory.folder / missing} is missing; run `{remedy}`")


def detect_layout(inventory: Inventory, config: Config) -> ColumnRoles:
    """The roles of the columns and the shape of the images."""
    train, test, sample = find_tables(inventory)
    headers = {path: read_header(path) for path in (train, test, sample)}
    check_config_columns(train, headers[train], config)
    check_sample_columns(sample, headers[sample])
    if len(headers[test]) <= 2 < len(headers[sample]):
        raise UserError(f"{sample} has more columns than {test.name}; are the files swapped?")
    id_column = config.id or headers[sample][0]
    if config.id and config.id not in headers[train] + headers[test]:
        raise UserError(f"{train} and {test.name} have no column {config.id}, which {CONFIG_FILE} names as the id")
    recognized = "" if config.group else _find_group_column(train, headers[train], id_column)
    group = recognized if config.group == "" else config.group or ""
    for path in (train, test):
        headers[path] = [column for column in headers[path] if column not in (group, recognized)]
    config_file = inventory.folder / CONFIG_FILE
    label = config.label or _label_column(headers, train, test, sample, id_column.lower(), config_file)
    pixels = [column for column in headers[train] if column.lower() not in (label.lower(), id_column.lower())]
    test_pixels = [column for column in headers[test] if column.lower() not in (label.lower(), id_column.lower())]
    _check_pixel_columns(pixels, test_pixels, train, test, config_file)
    return ColumnRoles(id_column, label, group, pixels, _image_shape(config, len(pixels), train, config_file))


def _find_group_column(train: Path, columns: Sequence[str], id_column: str) -> str:
    """The column of the writer, patient, ... among the few that are no pixels; empty if there is none."""
    others = [name for name in columns if not re.fullmatch(NUMBERED, name) and name.lower() != id_column.lower()]
    if not 2 <= len(others) <= MAX_STRAY_COLUMNS + 1:  # the label is one of them
        return ""
    return find_group_column(read_text(train, columns=others).replace("", np.nan), None)


def used_tables(inventory: Inventory, config: Config) -> list[Path]:
    """The tables that are read: those of `find_tables` and the configured further ones."""
    extra = [inventory.folder / file for file in config.extra]
    for path in extra:
        if not path.is_file():
            raise UserError(f"{path} is missing, which {CONFIG_FILE} names as extra training rows")
    used = [*find_tables(inventory), *extra]
    if repeated := [path for path, count in Counter(path.resolve() for path in used).items() if count > 1]:
        raise UserError(f"{inventory.folder / CONFIG_FILE}: extra adds the rows of {repeated[0].name} a second time")
    return used


def read_arrays(
    inventory: Inventory, config: Config, open_array: OpenArrayFile
) -> tuple[dict[str, np.ndarray], Layout]:
    """The arrays of a Dataset, except images and test images, which are written to the files of `open_array`.

    The images are read in chunks, since they may not fit into memory.
    """
    train, test, sample, *extra = used_tables(inventory, config)
    layout = detect_layout(inventory, config)
    for path in extra:
        _check_extra(path, read_header(path), layout, train, read_header(train))
    train_table = _write_images([train, *extra], layout, "images", open_array)
    test_table = _write_images([test], layout, "test_images", open_array)
    arrays = {
        **read_training_columns(train, train_table, layout, sample, config),
        "test_ids": _read_test_ids(test, test_table, sample, next(read_numbers(sample, ())), layout.id),
    }
    notes = [f"{path.name} is added to the training rows" for path in extra]
    if further := [path for path in _further_tables(inventory, layout) if path not in extra]:
        notes.append(
            f"{further[0].name} has labelled rows too; to train on them, set "
            f'extra = ["{further[0].relative_to(inventory.folder)}"] in {inventory.folder / CONFIG_FILE}'
        )
    source = f"column {layout.label} of {train.relative_to(inventory.folder)}"
    return arrays, Layout(source, str(sample.relative_to(inventory.folder)), layout.group, notes)


def _further_tables(inventory: Inventory, layout: ColumnRoles) -> list[Path]:
    """Other tables with labels and pixels."""
    train, *others = find_tables(inventory)
    used = {train, *others}
    names = {path.name for path in used}
    needed = set(_needed_columns(layout, read_header(train)))
    return [
        path
        for path in inventory.tables
        if path not in used and path.name not in names and needed <= set(read_header(path))
    ]


def _check_extra(path: Path, columns: list[str], layout: ColumnRoles, train: Path, train_columns: list[str]) -> None:
    """Raise UserError if a table of further training rows lacks a column."""
    if missing := [column for column in _needed_columns(layout, train_columns) if column not in columns]:
        raise UserError(f"{path} lacks column {missing[0]}, which {train.name} has")


def _needed_columns(layout: ColumnRoles, train_columns: Sequence[str]) -> list[str]:
    """The columns of a table of further training rows."""
    ids = [column for column in train_columns if column.lower() == layout.id.lower()]
    return [*ids, layout.label, *layout.pixels, *([layout.group] if layout.group else [])]


def read_training_columns(
    path: Path, table: pd.DataFrame, layout: ColumnRoles, sample: Path, config: Config
) -> dict[str, np.ndarray]:
    """The labels, classes, ids and groups of the training rows, checked against the sample's class columns."""
    class_columns = read_header(sample)[1:]
    placeholders = next(read_numbers(sample, ()))[class_columns[0]] if len(class_columns) == 1 else pd.Series(dtype=str)
    labels = encode_column(path, table[layout.label], config, placeholders)
    if len(class_columns) > 1:
        match_class_columns(sample, class_columns, labels.classes)
    return {
        "labels": labels.values,
        "classes": labels.classes,
        "train_ids": read_ids(path, table, layout.id),
        "groups": read_groups(path, table, layout.group),
    }


def check_config_columns(path: Path, columns: list[str], config: Config) -> None:
    """Raise UserError if the configuration names a missing column."""
    for name, column in (("label", config.label), ("group", config.group)):
        if column and column not in columns:
            raise UserError(f"{path} has no column {column}, which {CONFIG_FILE} names as the {name}")


def check_sample_columns(sample: Path, columns: list[str]) -> None:
    """Raise UserError if the sample submission has only an id."""
    if len(columns) < 2:
        raise UserError(f"{sample} has 1 column; expected an id and a label, or an id and a column per class")


def match_class_columns(sample: Path, columns: Sequence[str], classes: np.ndarray) -> np.ndarray:
    """The index of the class of each column, if the sample submission asks for probabilities.

    The columns are named like the classes, optionally with a common prefix: `7` or `class_7`.
    """
    class_names = [str(name) for name in classes]
    for class_name in class_names:
        prefix_length = max(0, len(columns[0]) - len(class_name))
        names = [column.removeprefix(columns[0][:prefix_length]) for column in columns]
        if sorted(names) == sorted(class_names):
            return np.array([class_names.index(name) for name in names])
    raise UserError(
        f"{sample} has {len(columns)} columns besides the id, {shorten_list(columns, 4)}; expected one label, "
        f"or the {len(class_names)} classes, {shorten_list(class_names, 4)}"
    )


def _write_images(paths: Sequence[Path], layout: ColumnRoles, array: str, open_array: OpenArrayFile) -> pd.DataFrame:
    """Append the images of the tables to the file of this array; return the other columns.

    The index has the row and, if there are several tables, before it the table, for error messages.
    """
    pixels, others, sources = layout.pixels, [], []
    with open_array(array, layout.shape) as append:
        for path in paths:
            for chunk in read_numbers(path, set(pixels), max(1, CHUNK_PIXELS // len(pixels))):
                append(_pixel_values(path, chunk[pixels]).reshape(-1, *layout.shape))
                others.append(chunk.drop(columns=pixels))
                sources.append(path)
    return pd.concat(others, keys=sources if len(paths) > 1 else None)


def read_pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The images (rows, *shape) of a table with pixel columns and optionally an id and a label."""
    columns = read_header(path)
    count = int(np.prod(shape))
    numbered = [column for column in columns if re.fullmatch(NUMBERED, column)]
    pixels = columns if len(columns) == count else numbered
    if len(pixels) != count:
        raise UserError(
            f"{path} has {len(pixels)} pixel columns; expected {count}, for images of {'x'.join(map(str, shape))}"
        )
    chunks = [_pixel_values(path, chunk[pixels]) for chunk in read_numbers(path, set(pixels))]
    return np.concatenate(chunks).reshape(-1, *shape)


def _label_column(
    headers: dict[Path, list[str]], train: Path, test: Path, sample: Path, id_column: str, config_file: Path
) -> str:
    """The column that only train.csv has; of several, the one that the sample submission names."""
    sample_columns = [column.lower() for column in headers[sample][1:]]
    in_train, in_test = ({column.lower() for column in headers[path]} for path in (train, test))
    if (both := [column for column in headers[train] if column.lower() in sample_columns]) and in_train == in_test:
        return both[0]  # the test rows of a dataset for research are labelled
    extra = [column for column in headers[train] if column.lower() not in in_test]
    labels = [column for column in extra if column.lower() in sample_columns]
    labels = labels or [column for column in extra if column.lower() != id_column]
    if len(labels) == 1:
        return labels[0]
    if extra and not labels:
        first = headers[sample][0]
        raise UserError(f"{sample}: the first column, {first}, is the label; move the id column first")
    if in_test > in_train:
        raise UserError(f"{train} has no label, and {test.name} has more columns; are the files swapped?")
    if not extra:
        raise UserError(f"{train} has the same columns as {test.name}; expected one more, the label")
    remedy = f'set the label, and the group if there is one, in {config_file}: label = "{labels[0]}"'
    raise UserError(f"{train} has columns {', '.join(labels[:3])} ... that {test.name} lacks; {remedy}")


def _check_pixel_columns(pixels: list[str], test_pixels: list[str], train: Path, test: Path, config_file: Path) -> None:
    """Raise UserError unless both files have the same pixel columns in the same order, numbered without gaps."""
    _check_same_columns(pixels, test_pixels, train, test, config_file)
    numbered = [match for column in pixels if (match := re.fullmatch(NUMBERED, column))]
    prefix, count = Counter(match[1] for match in numbered).most_common(1)[0] if numbered else ("", 0)
    if 0 < len(pixels) - count <= MAX_STRAY_COLUMNS and count > MAX_STRAY_COLUMNS * MIN_PIXELS:
        regular = {match[0] for match in numbered if match[1] == prefix}
        stray = next(column for column in pixels if column not in regular)
        remedy = f'remove it, or set its role in {config_file}: id = "{stray}" or group = "{stray}"'
        raise UserError(f"{train} and {test.name} have a column {stray} among {prefix}0, {prefix}1 ...; {remedy}")
    if len(numbered) == len(pixels) and len({match[1] for match in numbered}) == 1:
        prefix, numbers = numbered[0][1], [int(match[2]) for match in numbered]
        for expected, (column, number) in enumerate(zip(pixels, numbers, strict=True), min(1, *numbers)):
            if number != expected:
                raise UserError(f"{train} and {test.name}: expected column {prefix}{expected}, found {column}")
    if len(pixels) < MIN_PIXELS:
        raise UserError(f"{train} has {len(pixels)} pixel columns; expected at least {MIN_PIXELS}, for 2x2 pixels")


def _check_same_columns(pixels: list[str], test_pixels: list[str], train: Path, test: Path, config_file: Path) -> None:
    """Raise UserError unless both files have the same pixel columns in the same order."""
    for columns, others, path, other in ((pixels, test_pixels, test, train), (test_pixels, pixels, train, test)):
        existing = set(others)
        if missing := [column for column in columns if column not in existing]:
            role, key = ("the row ids", "id") if path == train else ("groups", "group")
            remedy = f'remove it or, if it contains {role}, set {key} = "{missing[0]}" in {config_file}'
            hint = "" if re.fullmatch(NUMBERED, missing[0]) else f"; {remedy}"
            raise UserError(f"{path} lacks column {missing[0]}, which {other.name} has{hint}")
    for column, expected in zip(test_pixels, pixels, strict=True):
        if column != expected:
            raise UserError(f"{test}: expected column {expected} as in {train.name}, found {column}")


def _image_shape(config: Config, count: int, train: Path, config_file: Path) -> tuple[int, ...]:
    """The configured shape, or a square with one or three channels; no pixel count fits both."""
    if config.shape:
        if prod(config.shape) == count:
            return config.shape
        shape = "x".join(map(str, config.shape))
        raise UserError(
            f"{train} has {count} pixel columns, but the shape in {CONFIG_FILE}, {shape}, needs {prod(config.shape)}"
        )
    for channels in (1, 3):
        side = isqrt(count // channels)
        if side * side * channels == count:
            return side, side, channels
    remedy = f"set their shape in {config_file}: shape = [height, width, channels]"
    raise UserError(f"{train} has {count} pixel columns, which fit no square image with 1 or 3 channels; {remedy}")


def _pixel_values(path: Path, table: pd.DataFrame) -> np.ndarray:
    """The pixels as uint8; raises UserError for the first invalid value."""
    if all(pd.api.types.is_integer_dtype(dtype) for dtype in table.dtypes):
        values = table.to_numpy()
        is_invalid = (values < 0) | (values > MAX_PIXEL)
    else:
        # As text, True does not become 1, nor does an integer of a thousand digits overflow.
        table = table.astype({name: str for name, dtype in table.dtypes.items() if dtype in (bool, object)})
        parsed = table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        values = np.nan_to_num(parsed, nan=-1)
        is_invalid = ~((values >= 0) & (values <= MAX_PIXEL) & (values == np.rint(values)))
    if is_invalid.any():
        row = int(is_invalid.any(axis=1).argmax())
        column = int(is_invalid[row].argmax())
        expected = f"an integer 0-{MAX_PIXEL}"
        raise invalid_value(path, int(table.index[row]), table.columns[column], table.iat[row, column], expected)
    # pandas returns column-major arrays; contiguous rows are written, mapped and read many times faster.
    return np.ascontiguousarray(values.astype(np.uint8))


def read_ids(path: Path, table: pd.DataFrame, id_column: str) -> np.ndarray:
    """Read the ids, rejecting missing or duplicate ones; integers if all are plain, else strings.

    Without an id column, return 1..n.
    """
    ids = _find_column(table, id_column)
    if ids is None:
        return np.arange(1, len(table) + 1)
    check_column(path, ids, ids.notna(), "an id")
    check_values(path, ids, ~ids.duplicated(), lambda value: f"duplicate id {value}")
    return ids.to_numpy().astype(np.int64 if ids.str.fullmatch(PLAIN_INTEGER).all() else str)


def _find_column(table: pd.DataFrame, name: str) -> pd.Series | None:
    """The column with this name, ignoring case, or None."""
    return next((table[column] for column in table.columns if column.lower() == name.lower()), None)


def read_groups(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    """The group number of each row; without a group column, each row is its own group."""
    if not column:
        return np.arange(len(table))
    names = table[column].fillna("").str.strip()
    check_column(path, names, names != "", "a group")
    return pd.factorize(names, sort=True)[0]


def _read_test_ids(
    test: Path, test_table: pd.DataFrame, sample: Path, sample_table: pd.DataFrame, id_column: str
) -> np.ndarray:
    """The ids of the test rows, which must be those of the sample submission."""
    sample_ids = read_ids(sample, sample_table, sample_table.columns[0])
    if len(sample_ids) != len(test_table):
        raise UserError(
            f"{test} has {len(test_table)} rows, but {sample.name} has {len(sample_ids)}; "
            "one of them is truncated or from another competition: download both again"
        )
    column = _find_column(test_table, id_column)
    if column is None:
        # Without ids, rows are matched by position, which is unambiguous only if the sample's ids increase.
        decreases = pd.to_numeric(sample_table.iloc[:, 0], errors="coerce").diff() < 0
        expected = f"increasing ids, since {test.name} has no id column"
        check_column(sample, sample_table.iloc[:, 0], ~decreases, expected)
        return sample_ids
    test_ids = read_ids(test, test_table, id_column)
    check_column(test, column, column.isin(sample_table.iloc[:, 0]), f"an id of {sample.name}")
    return test_ids
