"""Read a competition's three files, and check every value of them.

What the rules do not tell is inferred: the label column is the one that only `train.csv` has, the id column is the
sample's first, the rest are pixels, in order, of a square image of one channel or three.
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

from competition.data.config import FILE, Rules
from competition.data.csv_files import bad_value, header, numbers
from competition.data.sources import FILES
from competition.errors import Problem, first

Growing = Callable[[str, tuple[int, ...]], AbstractContextManager[Callable[[np.ndarray], None]]]

AT_A_TIME = 2**25  # pixels that are parsed; eight bytes each
BRIGHTEST = 255
LEAST = 4  # pixels: one alone has no neighbours, and so no shape
STRAY = 3  # columns that are no pixels, at most, when one of them is told of
LARGEST = 2.0**53  # the whole numbers below are exact
NOTHING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none")  # what programs write for a missing number
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+"
NUMBERED = r"(\D*)(\d+)"
PADDED = r"[+-]?0\d.*"


@dataclass(frozen=True)
class Layout:
    """Which column is what, and what image the pixels make."""

    id: str
    label: str
    group: str  # or nothing
    pixels: list[str]
    shape: tuple[int, ...]


def layout(folder: Path, rules: Rules) -> Layout:
    """How the three files are to be read."""
    train, test, sample = (folder / file for file in FILES)
    headers = {path: header(path) for path in (train, test, sample)}
    require_columns(train, headers[train], rules)
    require_answer(sample, headers[sample])
    if len(headers[test]) <= 2 < len(headers[sample]):
        raise Problem(f"{sample} has more columns than {test.name}; are the two exchanged?")
    id_column = rules.id or headers[sample][0]
    if rules.id and rules.id not in headers[train] + headers[test]:
        raise Problem(f"{train} and {test.name} have no column {rules.id}, which {FILE} names as the id")
    for path in (train, test):
        headers[path] = [column for column in headers[path] if column != rules.group]
    label = rules.label or _label_column(headers, train, test, sample, id_column.lower())
    pixels = [column for column in headers[train] if column.lower() not in (label.lower(), id_column.lower())]
    in_test = [column for column in headers[test] if column.lower() != id_column.lower()]
    _check_pixel_columns(pixels, in_test, train, test)
    return Layout(id_column, label, rules.group, pixels, _shape(rules, len(pixels), train))


def read(folder: Path, rules: Rules, growing: Growing) -> dict[str, np.ndarray]:
    """The arrays of a Dataset out of the three files, or a Problem that names the first defect.

    The images go where `growing` has them added, some at a time, as they may be more than the memory holds.
    """
    train, test, sample = (folder / file for file in FILES)
    columns = layout(folder, rules)
    taught = _without_pixels(train, columns, "images", growing)
    asked = _without_pixels(test, columns, "test_images", growing)
    return {
        **described(train, taught, columns, sample),
        "test_ids": _matching_ids(test, asked, sample, next(numbers(sample, ())), columns.id),
    }


def described(path: Path, table: pd.DataFrame, columns: Layout, sample: Path) -> dict[str, np.ndarray]:
    """What the columns beside the images tell of the training rows; the sample may ask for each class of them."""
    classes, labels = np.unique(_labels(path, table[columns.label]), return_inverse=True)
    if len(classes) < 2:
        raise Problem(f"{path}: every label in column {columns.label} is {classes[0]}; at least two classes are needed")
    if len(answers := header(sample)[1:]) > 1:
        class_of(sample, answers, classes)
    return {
        "labels": labels.astype(np.int64),
        "classes": classes,
        "train_ids": ids(path, table, columns.id),
        "groups": _groups(path, table, columns.group),
    }


def require_columns(path: Path, columns: list[str], rules: Rules) -> None:
    """A Problem where the rules name a column that is not there."""
    for name, column in (("label", rules.label), ("group", rules.group)):
        if column and column not in columns:
            raise Problem(f"{path} has no column {column}, which {FILE} names as the {name}")


def require_answer(sample: Path, columns: list[str]) -> None:
    """A Problem where the sample submission has nothing but an id."""
    if len(columns) < 2:
        raise Problem(f"{sample} has 1 column; an id and a label, or an id and each class, were expected")


def class_of(sample: Path, columns: Sequence[str], classes: np.ndarray) -> np.ndarray:
    """The position of each column's class, where the sample submission asks for probabilities.

    The columns are called as the classes are, perhaps all with the same words before: `7` or `class_7`.
    """
    named = [str(name) for name in classes]
    for name in named:
        start = max(0, len(columns[0]) - len(name))
        bare = [column.removeprefix(columns[0][:start]) for column in columns]
        if sorted(bare) == sorted(named):
            return np.array([named.index(name) for name in bare])
    raise Problem(
        f"{sample} has {len(columns)} columns beside the id, {first(columns, 4)}; one label was expected, "
        f"or the {len(named)} classes, {first(named, 4)}"
    )


def _without_pixels(path: Path, columns: Layout, images: str, growing: Growing) -> pd.DataFrame:
    """The other columns of a table whose pixels are added to the images of this name."""
    pixels, others = columns.pixels, []
    with growing(images, columns.shape) as add:
        for part in numbers(path, set(pixels), max(1, AT_A_TIME // len(pixels))):
            add(_pixel_values(path, part[pixels]).reshape(-1, *columns.shape))
            others.append(part.drop(columns=pixels))
    return pd.concat(others)


def pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The images (rows, *shape) of a table that has their pixels, and perhaps an id and a label, as columns."""
    columns = header(path)
    count = int(np.prod(shape))
    numbered = [column for column in columns if re.fullmatch(NUMBERED, column)]
    chosen = columns if len(columns) == count else numbered
    if len(chosen) != count:
        raise Problem(f"{path} has {len(chosen)} columns of pixels; images of {'x'.join(map(str, shape))} have {count}")
    return np.concatenate([_pixel_values(path, part[chosen]) for part in numbers(path, set(chosen))]).reshape(
        -1, *shape
    )


def _label_column(headers: dict[Path, list[str]], train: Path, test: Path, sample: Path, id_column: str) -> str:
    """The column that train has and test lacks; of several, the one that the sample names."""
    answers = [column.lower() for column in headers[sample][1:]]
    in_train, in_test = ({column.lower() for column in headers[path]} for path in (train, test))
    extra = [column for column in headers[train] if column.lower() not in in_test]
    labels = [column for column in extra if column.lower() in answers]
    labels = labels or [column for column in extra if column.lower() != id_column]
    if len(labels) == 1:
        return labels[0]
    if extra and not labels:
        raise Problem(f"{sample}: its first column, {headers[sample][0]}, is the label; the id was expected there")
    if in_test > in_train:
        raise Problem(f"{train} lacks the label, and {test.name} has more columns; are the two exchanged?")
    if not extra:
        raise Problem(f"{train} has the same columns as {test.name}; exactly one more, the label, was expected")
    remedy = f'tell which is the label, and which the group, in {train.parent / FILE}: label = "{labels[0]}"'
    raise Problem(f"{train} has columns {', '.join(labels[:3])} ... that {test.name} lacks; {remedy}")


def _check_pixel_columns(pixels: list[str], in_test: list[str], train: Path, test: Path) -> None:
    """Both files hold the same pixels, numbered without gaps."""
    for ours, theirs, path, other in ((pixels, in_test, test, train), (in_test, pixels, train, test)):
        there = set(theirs)
        if missing := [column for column in ours if column not in there]:
            is_pixel = re.fullmatch(NUMBERED, missing[0])
            what, name = ("the rows", "id") if path == train else ("groups", "group")
            remedy = f'leave it out, or, if it names {what}, tell so in {train.parent / FILE}: {name} = "{missing[0]}"'
            hint = "" if is_pixel else f"; {remedy}"
            raise Problem(f"{path} lacks column {missing[0]}, which {other.name} has{hint}")
    for column, wanted in zip(in_test, pixels, strict=True):
        if column != wanted:
            raise Problem(f"{test}: column {column} stands where {train.name} has {wanted}")
    numbered = [match for column in pixels if (match := re.fullmatch(NUMBERED, column))]
    stem, count = Counter(match[1] for match in numbered).most_common(1)[0] if numbered else ("", 0)
    if 0 < len(pixels) - count <= STRAY and count > STRAY * LEAST:
        stray = next(column for column in pixels if not re.fullmatch(re.escape(stem) + r"\d+", column))
        remedy = f'leave it out, or tell what it is in {train.parent / FILE}: id = "{stray}" or group = "{stray}"'
        raise Problem(f"{train} and {test.name} have a column {stray} among {stem}0, {stem}1 ...; {remedy}")
    if len(numbered) == len(pixels) and len({match[1] for match in numbered}) == 1:
        name, found = numbered[0][1], [int(match[2]) for match in numbered]
        due = range(min(1, *found), min(1, *found) + len(found))
        if gaps := set(due).difference(found):
            raise Problem(f"{train} and {test.name} lack column {name}{min(gaps)}")
        for column, number, place in zip(pixels, found, due, strict=True):
            if number != place:
                raise Problem(f"{train} and {test.name}: column {column} stands where {name}{place} is due")
    if len(pixels) < LEAST:
        raise Problem(f"{train} has {len(pixels)} pixel columns; images of 2x2 pixels, {LEAST} columns, are the least")


def _shape(rules: Rules, count: int, train: Path) -> tuple[int, ...]:
    """What the rules tell, else a square of one channel or of three; no number of pixels makes both."""
    if rules.shape:
        if prod(rules.shape) == count:
            return rules.shape
        images = f"images of {'x'.join(map(str, rules.shape))}, as {FILE} has it, have {prod(rules.shape)}"
        raise Problem(f"{train} has {count} pixel columns; {images}")
    for channels in (1, 3):
        side = isqrt(count // channels)
        if side * side * channels == count:
            return side, side, channels
    remedy = f"tell their shape in {train.parent / FILE}: shape = [height, width, channels]"
    raise Problem(f"{train} has {count} pixel columns, which make no square image of one channel or three; {remedy}")


def _pixel_values(path: Path, table: pd.DataFrame) -> np.ndarray:
    """The pixels as uint8; anything else is a Problem at the first bad row."""
    if all(pd.api.types.is_integer_dtype(kind) for kind in table.dtypes):
        values = table.to_numpy()
        bad = (values < 0) | (values > BRIGHTEST)
    else:
        table = table.astype(dict.fromkeys(table.select_dtypes("bool"), str))  # True is no brightness
        parsed = table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        values = np.nan_to_num(parsed, nan=-1)
        bad = ~((values >= 0) & (values <= BRIGHTEST) & (values == np.rint(values)))
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        column = int(bad[row].argmax())
        wanted = f"a whole number from 0 to {BRIGHTEST}"
        raise bad_value(path, int(table.index[row]), table.columns[column], table.iat[row, column], wanted)
    # pandas hands over columns; rows that lie together are written, mapped and read many times faster.
    return np.ascontiguousarray(values.astype(np.uint8))


def _labels(path: Path, column: pd.Series) -> np.ndarray:
    """The labels, none missing: whole numbers, in whichever way they are written, or text."""
    text = column.str.strip()
    values = pd.to_numeric(text, errors="coerce")
    is_number = values.abs() < LARGEST
    missing = text.isna() | text.eq("")
    # Among names, None may be one; among numbers it is a hole.
    doubtful = ~is_number & (text.str.lower().isin(NOTHING) | text.str.fullmatch(THOUSANDS, na=False))
    for bad in (missing, doubtful & is_number.any()):
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise bad_value(path, row, column.name, column.iat[row], "a label, plainly written,")
    is_padded = text.str.fullmatch(PADDED)
    if is_number.all() and not is_padded.any() and (values % 1 == 0).all():
        return values.astype(np.int64).to_numpy()
    spelled = text[is_number].groupby(values[is_number]).transform("first").reindex(text.index, fill_value="")
    other = (is_number & (text != spelled)).to_numpy()
    if other.any():
        row = int(other.argmax())
        raise bad_value(path, row, column.name, column.iat[row], f"{spelled.iat[row]}, as rows before have it,")
    return text.to_numpy().astype(str)


def ids(path: Path, table: pd.DataFrame, id_column: str) -> np.ndarray:
    """The id column, unique and whole, or the row numbers from 1 where there is none."""
    columns = [column for column in table.columns if column.lower() == id_column.lower()]
    if not columns:
        return np.arange(1, len(table) + 1)
    ids = table[columns[0]]
    for bad, wanted in ((ids.isna(), "an id"), (ids.duplicated(), "an id that no row before has")):
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise bad_value(path, row, columns[0], ids.iat[row], wanted)
    return _numbers_or_text(ids)


def _groups(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    """The number of each row's group; a group of its own for each where nothing is told."""
    if not column:
        return np.arange(len(table))
    names = table[column].astype(str).where(table[column].notna(), "").str.strip()
    if (bad := names.eq("").to_numpy()).any():
        row = int(bad.argmax())
        raise bad_value(path, row, column, "", "a group")
    return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def _numbers_or_text(column: pd.Series) -> np.ndarray:
    """Whole numbers where all are written as such, text otherwise: 007 is no number."""
    text = column.to_numpy().astype(str)
    values = pd.to_numeric(column, errors="coerce").to_numpy()
    if (np.abs(values) < LARGEST).all():
        whole = values.astype(np.int64)
        if (whole.astype(str) == text).all():
            return whole
    return text


def _matching_ids(
    test: Path, test_table: pd.DataFrame, sample: Path, sample_table: pd.DataFrame, id_column: str
) -> np.ndarray:
    """The test rows' ids, which have to be the sample's."""
    wanted = ids(sample, sample_table, sample_table.columns[0])
    if len(wanted) != len(test_table):
        raise Problem(
            f"{test} has {len(test_table)} rows and {sample.name} {len(wanted)}; "
            "one of them is cut off or of another competition"
        )
    if not any(column.lower() == id_column.lower() for column in test_table.columns):
        # By position, then: which of the rows a number means is plain only while the numbers rise.
        falls = np.diff(pd.to_numeric(pd.Series(wanted), errors="coerce")) < 0
        if falls.any():
            row = int(falls.argmax()) + 1
            rising = f"an id above the row's before, {test.name} having none,"
            raise bad_value(sample, row, id_column, wanted[row], rising)
        return wanted
    found = ids(test, test_table, id_column)
    unknown = ~np.isin(found, wanted)
    if unknown.any():
        row = int(unknown.argmax())
        raise bad_value(test, row, id_column, found[row], f"an id that {sample.name} has")
    return found
