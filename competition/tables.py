"""Read a competition's three files, and check every value of them.

Everything is inferred: the label column is the one that only `train.csv` has, the id column is the sample's first, the
rest are pixels, in order, of a square image. pandas' C engine parses 42,000 x 785 numbers in 0.6 s, half the time of
its pyarrow engine.
"""

import re
import warnings
from math import isqrt
from pathlib import Path

import numpy as np
import pandas as pd

from competition.problem import Problem
from competition.sources import FILES

BRIGHTEST = 255
LARGEST = 2.0**53  # the whole numbers below are exact


def read(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a Dataset out of the three files, or a Problem that names the first defect."""
    train, test, sample = (folder / file for file in FILES)
    headers = {path: _header(path) for path in (train, test, sample)}
    if len(headers[sample]) != 2:
        raise Problem(f"{sample} has {len(headers[sample])} columns; an id and a label column were expected")
    id_column, sample_label = headers[sample]
    label = _label_column(headers, train, test, sample_label)
    pixels = [column for column in headers[train] if column.lower() not in (label.lower(), id_column.lower())]
    in_test = [column for column in headers[test] if column.lower() != id_column.lower()]
    _check_pixel_columns(pixels, in_test, train, test)
    side = isqrt(len(pixels))
    tables = {path: _read(path, as_text=(label, id_column, sample_label)) for path in (train, test, sample)}
    shape = (-1, side, side, 1)
    classes, labels = np.unique(_labels(train, tables[train][label]), return_inverse=True)
    if len(classes) < 2:
        raise Problem(f"{train}: every label in column {label} is {classes[0]}; at least two classes are needed")
    return {
        "images": _pixel_values(train, tables[train][pixels]).reshape(shape),
        "labels": labels.astype(np.int64),
        "classes": classes,
        "train_ids": _ids(train, tables[train], id_column),
        "test_images": _pixel_values(test, tables[test][pixels]).reshape(shape),
        "test_ids": _matching_ids(test, tables[test], sample, tables[sample], id_column),
    }


def pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The images (rows, *shape) of a table that has their pixels, and perhaps an id and a label, as columns."""
    if not path.exists():
        raise Problem(f"{path} is missing")
    columns = _header(path)
    count = int(np.prod(shape))
    numbered = [column for column in columns if re.fullmatch(r"[^\d]+\d+", column)]
    chosen = columns if len(columns) == count else numbered
    if len(chosen) != count:
        raise Problem(f"{path} has {len(chosen)} columns of pixels; images of {'x'.join(map(str, shape))} have {count}")
    rest = tuple(column for column in columns if column not in set(chosen))
    return _pixel_values(path, _read(path, as_text=rest)[chosen]).reshape(-1, *shape)


def _header(path: Path) -> list[str]:
    """The column names."""
    try:
        columns = pd.read_csv(path, nrows=0, dtype=str, encoding="utf-8-sig").columns
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise Problem(f"{path} is not a CSV file: {str(error).splitlines()[0]}") from None
    return [str(column).strip() for column in columns]


def _label_column(headers: dict[Path, list[str]], train: Path, test: Path, sample_label: str) -> str:
    """The column that train has and test lacks; of several, the one that the sample names."""
    in_test = {column.lower() for column in headers[test]}
    extra = [column for column in headers[train] if column.lower() not in in_test]
    named = [column for column in extra if column.lower() == sample_label.lower()]
    if named or len(extra) == 1:
        return (named or extra)[0]
    what = f"columns {', '.join(extra[:3])} ... that {test.name} lacks" if extra else f"the same columns as {test.name}"
    raise Problem(f"{train} has {what}; exactly one, the label, was expected")


def _check_pixel_columns(pixels: list[str], in_test: list[str], train: Path, test: Path) -> None:
    """Both files hold the same pixels, numbered without gaps, of a square image."""
    if pixels != in_test:
        for ours, theirs, path, other in ((pixels, in_test, test, train), (in_test, pixels, train, test)):
            if missing := [column for column in ours if column not in set(theirs)]:
                raise Problem(f"{path} lacks column {missing[0]}, which {other.name} has")
        first = next(i for i, pair in enumerate(zip(pixels, in_test, strict=True)) if pair[0] != pair[1])
        raise Problem(f"{test}: column {in_test[first]} stands where {train.name} has {pixels[first]}")
    numbered = [match for column in pixels if (match := re.fullmatch(r"(\D*)(\d+)", column))]
    if len(numbered) == len(pixels) and len({match[1] for match in numbered}) == 1:
        for due, match in enumerate(numbered, start=min(1, int(numbered[0][2]))):
            if int(match[2]) != due:
                raise Problem(f"{train} and {test.name} lack column {match[1]}{due}")
    if not pixels or isqrt(len(pixels)) ** 2 != len(pixels):
        raise Problem(f"{train} has {len(pixels)} pixel columns, which make no square image")


def _read(path: Path, as_text: tuple[str, ...]) -> pd.DataFrame:
    """The whole table, its columns named without surrounding blanks; ids and labels stay as they are written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                engine="c",
                dtype=dict.fromkeys(as_text, str),
                index_col=False,
                low_memory=False,
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
            )
    except pd.errors.ParserWarning:
        raise Problem(f"{path} has rows with more values than its header has columns") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. ")
        raise Problem(f"{path} is not a CSV file: {reason}") from None
    if table.empty:
        raise Problem(f"{path} has a header and no rows")
    return table.rename(columns=lambda column: str(column).strip())


def _pixel_values(path: Path, table: pd.DataFrame) -> np.ndarray:
    """The pixels as uint8; anything else is a Problem at the first bad row."""
    if all(pd.api.types.is_integer_dtype(kind) for kind in table.dtypes):
        values = table.to_numpy()
        bad = (values < 0) | (values > BRIGHTEST)
    else:
        numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        values = np.nan_to_num(numbers, nan=-1)
        bad = ~((values >= 0) & (values <= BRIGHTEST) & (values == np.rint(values)))
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        column = int(bad[row].argmax())
        wanted = f"a whole number from 0 to {BRIGHTEST}"
        raise _bad_value(path, row, table.columns[column], table.iat[row, column], wanted)
    # pandas hands over columns; rows that lie together are written, mapped and read many times faster.
    return np.ascontiguousarray(values.astype(np.uint8))


def _labels(path: Path, column: pd.Series) -> np.ndarray:
    """The labels, none missing."""
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise _bad_value(path, row, column.name, column.iat[row], "a label")
    return _numbers_or_text(column)


def _ids(path: Path, table: pd.DataFrame, id_column: str) -> np.ndarray:
    """The id column, unique and whole, or the row numbers from 1 where there is none."""
    columns = [column for column in table.columns if column.lower() == id_column.lower()]
    if not columns:
        return np.arange(1, len(table) + 1)
    ids = table[columns[0]]
    for bad, wanted in ((ids.isna(), "an id"), (ids.duplicated(), "an id that no row before has")):
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise _bad_value(path, row, columns[0], ids.iat[row], wanted)
    return _numbers_or_text(ids)


def _numbers_or_text(column: pd.Series) -> np.ndarray:
    """Whole numbers where all are written as such, text otherwise: 007 is no number."""
    text = column.to_numpy().astype(str)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy()
    if np.isfinite(numbers).all() and (np.abs(numbers) < LARGEST).all():
        whole = numbers.astype(np.int64)
        if (whole.astype(str) == text).all():
            return whole
    return text


def _matching_ids(
    test: Path, test_table: pd.DataFrame, sample: Path, sample_table: pd.DataFrame, id_column: str
) -> np.ndarray:
    """The test rows' ids, which have to be the sample's."""
    wanted = _ids(sample, sample_table, id_column)
    if len(wanted) != len(test_table):
        raise Problem(
            f"{test} has {len(test_table)} rows and {sample.name} {len(wanted)}; "
            "one of them is cut off or of another competition"
        )
    if not any(column.lower() == id_column.lower() for column in test_table.columns):
        return wanted
    ids = _ids(test, test_table, id_column)
    unknown = ~np.isin(ids, wanted)
    if unknown.any():
        row = int(unknown.argmax())
        raise _bad_value(test, row, id_column, ids[row], f"an id that {sample.name} has")
    return ids


def _bad_value(path: Path, row: int, column: object, value: object, wanted: str) -> Problem:
    """A Problem that leads to the place: rows count from 1, and the header is line 1."""
    found = "nothing" if value is None or value != value else f"{value!s:.40}"
    return Problem(f"{path}: row {row + 1} (line {row + 2}), column {column}: found {found} where {wanted} belongs")
