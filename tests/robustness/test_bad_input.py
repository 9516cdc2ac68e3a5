"""Unusual files are either read correctly or rejected with a one-line error that locates the problem."""

import gzip
import io
import os
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.datasets import load_digits

from competition.cli.app import main
from competition.data.csv_files import read_text
from competition.data.dataset import Dataset, load_dataset
from competition.data.practice import write_competition
from competition.data.sources import FILES
from competition.submission.format import Sample, read_submission, write_submission

TRAIN, TEST, SAMPLE = FILES
TRAIN_ROWS, TEST_ROWS, PIXELS = 120, 20, 64
Edit = Callable[[Path], Path | None]  # changes the folder; returns its new path if it moves
WEB_PAGE = "<!DOCTYPE html>\n<html><body>Sign in, or register</body></html>\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def small_competition(folder: Path) -> None:
    """Write a competition with a few of the 8x8 digits."""
    images, labels = load_digits(return_X_y=True)
    images = (images * 15.9375).astype(np.uint8)
    n, end = TRAIN_ROWS, TRAIN_ROWS + TEST_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:end], labels[n:end])
    shutil.rmtree(folder / "held_back")


# Edits of a competition. Rows count from 0 after the header.


def edit_bytes(file: str, edit: Callable[[bytes], bytes]) -> Edit:
    """Edit the bytes of one file."""

    def apply(folder: Path) -> None:
        (folder / file).write_bytes(edit((folder / file).read_bytes()))

    return apply


def write_file(file: str, text: str) -> Edit:
    """Write a file."""

    def apply(folder: Path) -> None:
        (folder / file).write_text(text)

    return apply


def rename_file(old: str, new: str) -> Edit:
    """Rename a file."""

    def apply(folder: Path) -> None:
        (folder / old).rename(folder / new)

    return apply


def replace_folder_with_file(folder: Path) -> None:
    """Replace the whole folder with an empty file."""
    shutil.rmtree(folder)
    folder.touch()


def edit_all(edit: Callable[[bytes], bytes]) -> Edit:
    """Edit the bytes of all three files."""
    return combine(*(edit_bytes(file, edit) for file in FILES))


def combine(*edits: Edit) -> Edit:
    """Apply several edits in order."""

    def apply(folder: Path) -> None:
        for edit in edits:
            edit(folder)

    return apply


def edit_lines(file: str, edit: Callable[[list[str]], list[str]]) -> Edit:
    return edit_bytes(file, lambda data: "".join(f"{line}\n" for line in edit(data.decode().splitlines())).encode())


def edit_table(file: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Edit:
    """Edit the table, whose values are all text."""

    def apply(folder: Path) -> None:
        edit(pd.read_csv(folder / file, dtype=str)).to_csv(folder / file, index=False)

    return apply


def set_value(file: str, row: int, column: str, text: str) -> Edit:
    def apply(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = text
        return table

    return edit_table(file, apply)


def edit_column(file: str, name: str, edit: Callable[[pd.Series], object]) -> Edit:
    return edit_table(file, lambda table: table.assign(**{name: edit(table[name])}))


def reorder_columns(file: str, edit: Callable[[list[str]], list[str]]) -> Edit:
    return edit_table(file, lambda table: table[edit(list(table.columns))])


def edit_header(file: str, edit: Callable[[str], str]) -> Edit:
    return edit_lines(file, lambda lines: [edit(lines[0]), *lines[1:]])


def set_ids(file: str, ids: Iterable[object], name: str = "ImageId") -> Edit:
    """Insert an id column at the front, or replace it."""

    def apply(table: pd.DataFrame) -> pd.DataFrame:
        table = table.drop(columns="ImageId", errors="ignore")
        table.insert(0, name, list(ids))
        return table

    return edit_table(file, apply)


def write_images(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Edit:
    def apply(folder: Path) -> None:
        write_competition(folder, train, labels, test, np.resize(labels, len(test)))
        shutil.rmtree(folder / "held_back")

    return apply


def rename_folder(name: str) -> Edit:
    return lambda folder: folder.rename(folder.parent / name)


def gzip_file(file: str) -> Edit:
    def apply(folder: Path) -> None:
        (folder / f"{file}.gz").write_bytes(gzip.compress((folder / file).read_bytes()))
        (folder / file).unlink()

    return apply


def zip_files(archive: str, *files: str, prefix: str = "") -> Edit:
    def apply(folder: Path) -> None:
        with zipfile.ZipFile(folder / archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
            for file in files:
                zip_file.write(folder / file, f"{prefix}{file}")
                (folder / file).unlink()

    return apply


def symlink_file(file: str) -> Edit:
    """Move the file and leave a symlink."""

    def apply(folder: Path) -> None:
        target = folder.parent.parent / f"my {file}"
        (folder / file).rename(target)
        (folder / file).symlink_to(target)

    return apply


def symlink_folder(folder: Path) -> None:
    target = folder.parent.parent / "downloads"
    folder.rename(target)
    folder.symlink_to(target, target_is_directory=True)


def delete(file: str) -> Edit:
    return lambda folder: (folder / file).unlink()


def replace_with_folder(file: str) -> Edit:
    return combine(delete(file), lambda folder: (folder / file).mkdir())


def replace_with_broken_symlink(file: str) -> Edit:
    return combine(delete(file), lambda folder: (folder / file).symlink_to("nowhere.csv"))


def swap_files(first: str, second: str) -> Edit:
    def apply(folder: Path) -> None:
        content = (folder / first).read_bytes()
        (folder / first).write_bytes((folder / second).read_bytes())
        (folder / second).write_bytes(content)

    return apply


def random_images(rows: int, pixels: int) -> np.ndarray:
    return np.random.default_rng(pixels).integers(0, 256, (rows, pixels)).astype(np.uint8)


def zip_bytes(data: bytes) -> bytes:
    """A zip archive that contains the data as a file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zip_file:
        zip_file.writestr(TRAIN, data)
    return archive.getvalue()


def quote_values(data: bytes) -> bytes:
    return re.sub(rb"[^,\n]+", rb'"\g<0>"', data)


def add_index_column(lines: list[str]) -> list[str]:
    """Add the index that pandas writes by default."""
    return [f"{'' if number == 0 else number - 1},{line}" for number, line in enumerate(lines)]


def shuffle(names: list[str]) -> list[str]:
    return [str(name) for name in np.random.default_rng(0).permutation(names)]


def sort_as_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("ImageId")


def padded_ids(rows: int) -> list[str]:
    return [f"{row:03}" for row in range(rows)]


# Checks of accepted files. Submitted labels are computed from the images alone, so that equal submissions show that
# images and ids still match.


def submit_labels(folder: Path, dataset: Dataset, target: Path) -> dict[str, str]:
    """Write a submission of labels computed from the images; return label by id."""
    labels = dataset.test_images.reshape(len(dataset.test_ids), -1).sum(axis=1) % len(dataset.classes)
    write_submission(np.eye(len(dataset.classes))[labels], dataset, Sample(folder / SAMPLE), target)
    read_submission(target, Sample(folder / SAMPLE), dataset.classes)
    return dict(read_text(target).itertuples(index=False, name=None))


def is_equal(dataset: Dataset, original: Dataset) -> bool:
    """All arrays are equal."""
    fields = ("images", "labels", "classes", "train_ids", "test_ids", "test_images")
    return all(np.array_equal(getattr(dataset, field), getattr(original, field)) for field in fields)


def has_equal_images(dataset: Dataset, original: Dataset) -> bool:
    """The images are equal; classes and ids may differ."""
    return all(np.array_equal(getattr(dataset, field), getattr(original, field)) for field in ("images", "test_images"))


def has_pixel(row: int, pixel: int, expected: int) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, original: (
        dataset.images[row].ravel()[pixel] == expected and np.array_equal(dataset.labels, original.labels)
    )


def has_classes(*names: str) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, original: (
        list(dataset.classes) == list(names) and list(dataset.classes[dataset.labels][:3]) == list(names[:3])
    )


def has_shape(rows: int, side: int, count: int) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, original: dataset.images.shape == (rows, side, side, 1) and len(dataset.classes) == count


def has_repeated_rows(dataset: Dataset, original: Dataset) -> bool:
    return np.array_equal(dataset.images[TRAIN_ROWS:], original.images[:10])


ACCEPTED: dict[str, tuple[Edit, Callable[[Dataset, Dataset], bool]]] = {
    "byte order mark": (edit_all(lambda data: BYTE_ORDER_MARK + data), is_equal),
    "CRLF line ends": (edit_all(lambda data: data.replace(b"\n", b"\r\n")), is_equal),
    "CR line ends": (edit_all(lambda data: data.replace(b"\n", b"\r")), is_equal),
    "mixed CRLF and LF": (
        edit_lines(TRAIN, lambda lines: [*(f"{line}\r" for line in lines[:50]), *lines[50:]]),
        is_equal,
    ),
    "no final newline": (edit_all(lambda data: data.rstrip(b"\n")), is_equal),
    "blank lines": (edit_lines(TRAIN, lambda lines: [part for line in lines for part in (line, "")]), is_equal),
    "quoted numbers": (edit_all(quote_values), is_equal),
    "quotes, byte order mark and CRLF": (
        edit_all(lambda data: BYTE_ORDER_MARK + quote_values(data).replace(b"\n", b"\r\n")),
        is_equal,
    ),
    "spaces after commas": (edit_all(lambda data: data.replace(b",", b", ")), has_equal_images),
    "spaces in the header": (edit_header(TRAIN, lambda header: header.replace(",", " , ")), is_equal),
    "trailing commas in rows": (
        edit_lines(TRAIN, lambda lines: [lines[0], *(f"{line}," for line in lines[1:])]),
        is_equal,
    ),
    "integer as a float": (set_value(TRAIN, 3, "pixel5", "17.0"), has_pixel(3, 5, 17)),
    "scientific notation": (set_value(TRAIN, 3, "pixel5", "1.7e1"), has_pixel(3, 5, 17)),
    "plus sign": (set_value(TRAIN, 3, "pixel5", "+17"), has_pixel(3, 5, 17)),
    "zero-padded pixel": (set_value(TRAIN, 3, "pixel5", "017"), has_pixel(3, 5, 17)),
    "float labels": (edit_column(TRAIN, "label", lambda column: column + ".0"), is_equal),
    "one float label": (set_value(TRAIN, 3, "label", "3.0"), is_equal),
    "labels in scientific notation": (edit_column(TRAIN, "label", lambda column: column + "e0"), is_equal),
    "spaces around labels": (edit_column(TRAIN, "label", lambda column: "  " + column + " "), is_equal),
    "zero-padded labels": (
        edit_column(TRAIN, "label", lambda column: "0" + column),
        has_classes(*(f"0{digit}" for digit in range(10))),
    ),
    "text labels": (
        edit_column(TRAIN, "label", lambda column: column + "é 数"),
        has_classes(*(f"{digit}é 数" for digit in range(10))),
    ),
    "NA as a class name": (
        edit_column(TRAIN, "label", lambda column: column.map(lambda digit: "NA" if digit == "9" else f"K{digit}")),
        has_classes(*(f"K{digit}" for digit in range(9)), "NA"),
    ),
    "label column last": (reorder_columns(TRAIN, lambda names: [*names[1:], names[0]]), is_equal),
    "label column in the middle": (
        reorder_columns(TRAIN, lambda names: [*names[1:30], names[0], *names[30:]]),
        is_equal,
    ),
    "pixel columns named by numbers": (
        combine(*(edit_header(file, lambda header: header.replace("pixel", "")) for file in (TRAIN, TEST))),
        is_equal,
    ),
    "labels above 2**53": (
        edit_column(TRAIN, "label", lambda column: (column.astype(int) + 2**60).astype(str)),
        has_classes(*(str(2**60 + digit) for digit in range(10))),
    ),
    "label column in upper case": (edit_header(TRAIN, lambda header: header.replace("label", "LABEL")), is_equal),
    "id column in train": (set_ids(TRAIN, range(1, TRAIN_ROWS + 1)), is_equal),
    "id column in train, label column renamed in the sample": (
        combine(set_ids(TRAIN, range(1, TRAIN_ROWS + 1)), edit_header(SAMPLE, lambda header: "ImageId,Category")),
        is_equal,
    ),
    "test rows in another order": (
        combine(set_ids(TEST, range(1, TEST_ROWS + 1)), edit_table(TEST, lambda table: table[::-1])),
        lambda dataset, original: list(dataset.test_ids) == list(range(TEST_ROWS, 0, -1)),
    ),
    "sample in another order, id column in test": (
        combine(set_ids(TEST, range(1, TEST_ROWS + 1)), edit_table(SAMPLE, sort_as_text)),
        is_equal,
    ),
    "id column last": (
        combine(set_ids(TEST, range(1, TEST_ROWS + 1)), reorder_columns(TEST, lambda names: [*names[1:], names[0]])),
        is_equal,
    ),
    "zero-padded ids, id column in lower case": (
        combine(set_ids(SAMPLE, padded_ids(TEST_ROWS)), set_ids(TEST, padded_ids(TEST_ROWS), "imageid")),
        lambda dataset, original: dataset.test_ids[7] == "007" and has_equal_images(dataset, original),
    ),
    "zero-padded ids, spaces around the id column's name": (
        combine(set_ids(SAMPLE, padded_ids(TEST_ROWS), " ImageId"), set_ids(TEST, padded_ids(TEST_ROWS), "ImageId ")),
        lambda dataset, original: dataset.test_ids[7] == "007" and has_equal_images(dataset, original),
    ),
    "float ids": (edit_column(SAMPLE, "ImageId", lambda column: column + ".0"), has_equal_images),
    "ids with thousands separators": (
        set_ids(SAMPLE, [f"1,{row:03}" for row in range(TEST_ROWS)]),
        lambda dataset, original: dataset.test_ids[7] == "1,007" and has_equal_images(dataset, original),
    ),
    "ids above 2**53": (
        set_ids(SAMPLE, [str(2**60 + row) for row in range(TEST_ROWS)]),
        lambda dataset, original: dataset.test_ids[1] == str(2**60 + 1) and has_equal_images(dataset, original),
    ),
    "non-ASCII ids": (
        set_ids(SAMPLE, [f"Bild ä{row}, 数" for row in range(TEST_ROWS)]),
        lambda dataset, original: dataset.test_ids[1] == "Bild ä1, 数" and has_equal_images(dataset, original),
    ),
    "repeated rows": (edit_lines(TRAIN, lambda lines: [*lines, *lines[1:11]]), has_repeated_rows),
    "class with two images": (
        write_images(random_images(22, 4), np.repeat([0, 1], [20, 2]), random_images(5, 4)),
        has_shape(22, 2, 2),
    ),
    "1,000 classes": (
        write_images(random_images(3000, 4), np.arange(3000) % 1000, random_images(10, 4)),
        has_shape(3000, 2, 1000),
    ),
    "3 rows": (edit_lines(TRAIN, lambda lines: lines[:4]), has_shape(3, 8, 3)),
    "one gzipped file": (gzip_file(TRAIN), is_equal),
    "all files gzipped": (combine(*(gzip_file(file) for file in FILES)), is_equal),
    "one zipped file": (zip_files("train.csv.zip", TRAIN), is_equal),
    "one archive of all files": (zip_files("digit-recognizer.zip", *FILES), is_equal),
    "archive with a folder inside": (zip_files("all.zip", *FILES, prefix="digits/"), is_equal),
    "file name in another case": (rename_file(TRAIN, "Train.csv"), is_equal),
    "another file name": (rename_file(TRAIN, "digits_train.csv"), is_equal),
    "labels in the test table": (edit_table(TEST, lambda table: table.assign(label="0")), is_equal),
    "archive in an archive": (
        combine(zip_files("train.zip", TRAIN), zip_files("all.zip", "train.zip", TEST)),
        is_equal,
    ),
    "symlinks to files": (combine(*(symlink_file(file) for file in FILES)), is_equal),
    "symlink to the folder": (symlink_folder, is_equal),
    "folder name with spaces": (rename_folder("my digits, again"), is_equal),
    "non-ASCII folder name": (rename_folder("Ziffern für Äß 数字"), is_equal),
    "folder name with wildcards": (rename_folder("digits[8]*"), is_equal),
}

REJECTED: dict[str, tuple[Edit, str]] = {
    "UTF-16": (
        edit_all(lambda data: data.decode().encode("utf-16")),
        r"train\.csv is not UTF-8, probably UTF-16; .* iconv -f UTF-16",
    ),
    "UTF-16 without byte order mark": (
        edit_bytes(TEST, lambda data: data.decode().encode("utf-16-le")),
        r"test\.csv .* iconv",
    ),
    "Latin-1": (
        combine(
            set_value(TRAIN, 3, "label", "drei é"),
            edit_bytes(TRAIN, lambda data: data.decode("utf-8").encode("latin-1")),
        ),
        r"train\.csv is not UTF-8; convert it, for example: iconv -f WINDOWS-1252",
    ),
    "semicolons": (edit_all(lambda data: data.replace(b",", b";")), r"train\.csv uses semicolons as separators"),
    "tabs": (
        edit_bytes(TEST, lambda data: data.replace(b",", b"\t")),
        r"test\.csv uses tabs as separators; save it as comma-separated",
    ),
    "thousands separator in a pixel": (
        set_value(TRAIN, 3, "pixel5", "1,234"),
        r"row 4 \(line 5\), column pixel5: expected an integer 0-255, found '1,234",
    ),
    "thousands separator in a label": (
        set_value(TRAIN, 3, "label", "1,234"),
        r"row 4 \(line 5\), column label: ambiguous label '1,234' among numeric labels; fill it in or remove the row",
    ),
    "decimal comma": (
        set_value(TRAIN, 3, "pixel5", "17,0"),
        r"train\.csv: row 4 \(line 5\), column pixel5: expected an integer 0-255, found '17,0'",
    ),
    "text in a pixel": (
        set_value(TRAIN, 6, "pixel2", "abc"),
        r"train\.csv: row 7 \(line 8\), column pixel2: expected an integer 0-255, found 'abc'",
    ),
    "escape sequence in a pixel": (
        set_value(TRAIN, 6, "pixel2", "\x1b[2J"),
        r"row 7 \(line 8\), column pixel2: expected an integer 0-255, found ' \[2J",
    ),
    "hexadecimal pixel": (
        set_value(TRAIN, 6, "pixel2", "0x1F"),
        r"row 7 \(line 8\), column pixel2: expected an integer 0-255, found '0x1F",
    ),
    "pixel of 256": (
        set_value(TRAIN, 1, "pixel0", "256"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '256",
    ),
    "pixel of 10**30": (
        set_value(TRAIN, 1, "pixel0", "1" + 30 * "0"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '1000",
    ),
    "negative pixel": (
        set_value(TRAIN, 1, "pixel0", "-1"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '-1",
    ),
    "fractional pixel": (
        set_value(TRAIN, 1, "pixel0", "0.5"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '0\.5",
    ),
    "Boolean pixels": (
        edit_column(TEST, "pixel7", lambda column: "True"),
        r"test\.csv: row 1 \(line 2\), column pixel7: expected an integer 0-255, found 'True",
    ),
    "missing pixel": (
        set_value(TEST, 0, "pixel9", ""),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found nothing",
    ),
    "NaN pixel": (
        set_value(TEST, 0, "pixel9", "NaN"),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found 'NaN",
    ),
    "infinite pixel": (
        set_value(TEST, 0, "pixel9", "inf"),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found 'inf",
    ),
    "missing label": (
        set_value(TRAIN, 9, "label", ""),
        r"row 10 \(line 11\), column label: expected a label, found nothing",
    ),
    "NA label": (
        set_value(TRAIN, 9, "label", "NA"),
        r"row 10 \(line 11\), column label: ambiguous label 'NA' among numeric labels",
    ),
    "null label": (
        set_value(TRAIN, 9, "label", "null"),
        r"row 10 \(line 11\), column label: ambiguous label 'null' among numeric labels",
    ),
    "two spellings of a label": (
        combine(edit_column(TRAIN, "label", lambda column: "0" + column), set_value(TRAIN, 13, "label", "3")),
        r"row 14 \(line 15\), column label: inconsistent label spelling '3'; earlier rows use '03'",
    ),
    "one class": (edit_column(TRAIN, "label", lambda column: "3"), r"train\.csv: every label in column label is 3"),
    "one row": (edit_lines(TRAIN, lambda lines: lines[:2]), r"train\.csv: every label in column label is 0"),
    "1x1 images": (
        write_images(random_images(20, 1), np.arange(20) % 2, random_images(5, 1)),
        r"train\.csv has 1 pixel columns; expected at least 4, for 2x2",
    ),
    "number of pixels not a square": (
        combine(*(edit_table(file, lambda table: table.drop(columns="pixel63")) for file in (TRAIN, TEST))),
        r"train\.csv has 63 pixel columns, which fit no square",
    ),
    "missing pixel column": (
        combine(*(edit_table(file, lambda table: table.drop(columns="pixel17")) for file in (TRAIN, TEST))),
        r"train\.csv and test\.csv: expected column pixel17, found pixel18",
    ),
    "missing pixel column in test": (
        edit_table(TEST, lambda table: table.drop(columns="pixel17")),
        r"test\.csv lacks .*pixel17",
    ),
    "extra column in test": (
        edit_table(TEST, lambda table: table.assign(extra="1")),
        r"train\.csv lacks column extra, which",
    ),
    "shuffled pixel columns in test": (
        reorder_columns(TEST, shuffle),
        r"test\.csv: expected column pixel0 as in train\.csv, found pixel\d+",
    ),
    "two pixel columns swapped in train": (
        reorder_columns(TRAIN, lambda names: [*names[:5], names[6], names[5], *names[7:]]),
        r"test\.csv: expected column pixel5 as in train\.csv, found pixel4",
    ),
    "pixel columns sorted as text": (
        combine(reorder_columns(TRAIN, lambda names: [names[0], *sorted(names[1:])]), reorder_columns(TEST, sorted)),
        r"train\.csv and test\.csv: expected column pixel2, found pixel10",
    ),
    "last of 40,000 columns renamed": (
        combine(
            write_images(random_images(3, 40_000), np.arange(3), random_images(2, 40_000)),
            edit_header(TEST, lambda header: header.replace("pixel39999", "last")),
        ),
        r"test\.csv lacks column pixel39999, which train\.csv has",
    ),
    "no header": (edit_lines(TRAIN, lambda lines: lines[1:]), r"train\.csv has no header; add a first line"),
    "no header in the sample": (edit_lines(SAMPLE, lambda lines: lines[1:]), r"sample_submission\.csv has no header"),
    "repeated header": (
        edit_lines(TRAIN, lambda lines: [lines[0], *lines]),
        r"train\.csv: row 1 \(line 2\), column pixel0: expected an integer 0-255, found 'pixel0",
    ),
    "repeated pixel column": (
        combine(*(edit_header(file, lambda header: header.replace("pixel6,", "pixel5,")) for file in (TRAIN, TEST))),
        r"train\.csv has 2 columns named pixel5",
    ),
    "repeated label column": (
        edit_lines(TRAIN, lambda lines: [f"{line},{line.split(',')[0]}" for line in lines]),
        r"train\.csv has 2 columns named label",
    ),
    "saved index column": (
        combine(*(edit_lines(file, add_index_column) for file in FILES)),
        r"train\.csv: column 1 of 66 has no name",
    ),
    "trailing commas in header and rows": (
        edit_lines(TRAIN, lambda lines: [f"{line}," for line in lines]),
        r"train\.csv: column 66 of 66 has no",
    ),
    "line break in a column name": (
        edit_header(TRAIN, lambda header: header.replace("pixel6,", '"pixel\n6",')),
        r"train\.csv: column name 'pixel 6' contains an unprintable character or line break; fix the header",
    ),
    "comment before the header": (
        edit_lines(TRAIN, lambda lines: ["# of Kaggle", *lines]),
        r"train\.csv lacks column pixel0, which",
    ),
    "sep= line of spreadsheets": (
        edit_lines(TRAIN, lambda lines: ["sep=,", *lines]),
        r"train\.csv: column 2 of 2 has no name",
    ),
    "row with an extra value": (
        edit_lines(TRAIN, lambda lines: [*lines[:9], lines[9] + ",7", *lines[10:]]),
        r"train\.csv: line 10 has more values than the header; quote values",
    ),
    "extra value in all rows": (
        edit_lines(TRAIN, lambda lines: [lines[0], *(f"{line},7" for line in lines[1:])]),
        r"train\.csv: line \d+ has more values than the header; quote values",
    ),
    "truncated within a row": (
        edit_bytes(TRAIN, lambda data: data[:-100]),
        r"train\.csv: row 120 .* expected an integer 0-255, found nothing",
    ),
    "zero bytes at the end": (
        edit_bytes(TRAIN, lambda data: data[:-500] + bytes(500)),
        r"train\.csv: row 118 \(line 119\)",
    ),
    "only zero bytes": (edit_bytes(TRAIN, lambda data: bytes(len(data))), r"train\.csv contains zero bytes"),
    "DOS end-of-file mark": (edit_bytes(TRAIN, lambda data: data + b"\x1a"), r"train\.csv: row 121 .* found nothing"),
    "unclosed quote": (
        edit_bytes(TRAIN, lambda data: data.replace(b"\n5,", b'\n"5,', 1)),
        r"train\.csv cannot be parsed as CSV: EOF inside string starting at row 6; download it again",
    ),
    "quote that spans rows": (
        edit_bytes(TRAIN, lambda data: data.replace(b"\n5,", b'\n"5,', 2)),
        r"train\.csv: row 6 \(line 7\), column label: .*close open quotes",
    ),
    "empty file": (edit_bytes(TRAIN, lambda data: b""), r"train\.csv is empty"),
    "empty sample": (edit_bytes(SAMPLE, lambda data: BYTE_ORDER_MARK), r"sample_submission\.csv is empty"),
    "only blank lines": (edit_bytes(TEST, lambda data: b"\r\n\r\n"), r"test\.csv is empty"),
    "header without rows": (
        edit_lines(TRAIN, lambda lines: lines[:1]),
        r"train\.csv has a header but no rows; download it again",
    ),
    "web page": (edit_bytes(TRAIN, lambda data: WEB_PAGE.encode()), r"train\.csv is a web page or a server message"),
    "web page as the sample": (
        edit_bytes(SAMPLE, lambda data: WEB_PAGE.encode()),
        r"sample_submission\.csv is a web page",
    ),
    "server's error message": (
        edit_bytes(TEST, lambda data: b'{"code":403,"message":"rules"}'),
        r"test\.csv is a web page or",
    ),
    "Git LFS pointer": (
        edit_bytes(TRAIN, lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        r"train\.csv lacks column pixel0",
    ),
    "image instead of a table": (
        edit_bytes(TEST, lambda data: b"\x89PNG\r\n\x1a\n" + bytes(64) + random_images(64, 64).tobytes()),
        r"test\.csv contains zero bytes",
    ),
    "gzipped file named .csv": (edit_bytes(TRAIN, gzip.compress), r"is compressed; .*: mv (\S+train\.csv) \1\.gz"),
    "zip archive named .csv": (edit_bytes(TRAIN, zip_bytes), r"is compressed; .*: mv (\S+train\.csv) \1\.zip"),
    "damaged gzip file": (
        combine(gzip_file(TRAIN), edit_bytes(f"{TRAIN}.gz", lambda data: data[:-40])),
        r"cannot unpack .*train\.csv\.gz: .*; download it again",
    ),
    "web page named .gz": (
        combine(delete(TRAIN), write_file(f"{TRAIN}.gz", WEB_PAGE)),
        r"cannot unpack .*train\.csv\.gz: Not a gzipped file",
    ),
    "damaged zip archive": (
        combine(
            zip_files("all.zip", *FILES), edit_bytes("all.zip", lambda data: data[:60] + b"\xff\xff\xff" + data[63:])
        ),
        r"cannot unpack .*all\.zip: .*; download it again",
    ),
    "web page named .zip": (
        combine(delete(TRAIN), write_file("all.zip", WEB_PAGE)),
        r"cannot unpack .*all\.zip: File is not a zip file",
    ),
    "zip archive without the file": (
        combine(rename_file(TRAIN, "train.txt"), zip_files("train.csv.zip", "train.txt")),
        r"small is missing train\.csv; add it",
    ),
    "no label column": (
        edit_lines(TRAIN, lambda lines: [line.split(",", 1)[1] for line in lines]),
        r"train\.csv has the same columns as test",
    ),
    "train and test swapped": (swap_files(TRAIN, TEST), r"train\.csv has no label, .* are the files swapped"),
    "test and sample swapped": (
        swap_files(TEST, SAMPLE),
        r"csv has more columns than test\.csv; are the files swapped",
    ),
    "sample columns swapped": (
        reorder_columns(SAMPLE, lambda names: names[::-1]),
        r"sample_submission\.csv: the first column",
    ),
    "sample with one column": (
        edit_table(SAMPLE, lambda table: table[["ImageId"]]),
        r"csv has 1 column; expected an id and a label",
    ),
    "sample with three columns": (
        edit_table(SAMPLE, lambda table: table.assign(more="0")),
        r"sample_submission\.csv has 2 columns besides the id, Label, more; expected one label, or the 10 classes",
    ),
    "missing rows in test": (
        edit_lines(TEST, lambda lines: lines[:-5]),
        r"test\.csv has 15 rows, but sample_submission\.csv has 20; one of",
    ),
    "repeated row in test": (
        edit_lines(TEST, lambda lines: [*lines, lines[-1]]),
        r"test\.csv has 21 rows, but sample_submission\.csv has 20",
    ),
    "repeated row in the sample": (
        edit_lines(SAMPLE, lambda lines: [*lines[:-1], lines[-2]]),
        r"sample_submission\.csv: row 20 .* column ImageId: duplicate id '19'",
    ),
    "missing id": (
        set_value(SAMPLE, 4, "ImageId", ""),
        r"sample_submission\.csv: row 5 .* expected an id, found nothing",
    ),
    "repeated id in test": (
        set_ids(TEST, [*range(1, TEST_ROWS), 1]),
        r"test\.csv: row 20 \(line 21\), column ImageId: duplicate id '1'",
    ),
    "repeated id in train": (
        set_ids(TRAIN, [*range(1, TRAIN_ROWS), 1]),
        r"train\.csv: row 120 \(line 121\), column ImageId: duplicate id '1'",
    ),
    "id missing in the sample": (
        set_ids(TEST, [*range(1, TEST_ROWS), 999]),
        r"test\.csv: row 20 \(line 21\), column ImageId: expected an id of sample_submission\.csv, found '999'",
    ),
    "float ids only in the sample": (
        combine(edit_column(SAMPLE, "ImageId", lambda column: column + ".0"), set_ids(TEST, range(1, TEST_ROWS + 1))),
        r"test\.csv: row 1 \(line 2\), column ImageId: expected an id of sample_submission\.csv, found '1'",
    ),
    "reversed sample, no ids in test": (
        edit_table(SAMPLE, lambda table: table[::-1]),
        r"sample_submission\.csv: row 2 \(line 3\), column ImageId: expected increasing ids, .* found '19'",
    ),
    "sample sorted as text, no ids in test": (
        edit_table(SAMPLE, sort_as_text),
        r"sample_submission\.csv: row 12 \(line 13\), column ImageId: expected increasing ids, .* found '2'",
    ),
    "missing file": (delete(SAMPLE), r"small is missing sample_submission\.csv; add it"),
    "broken symlink": (replace_with_broken_symlink(TRAIN), r"small is missing train\.csv"),
    "folder instead of a file": (replace_with_folder(TRAIN), r"train\.csv is not a file; move it away"),
    "file instead of the cache folder": (
        write_file("cache", ""),
        r"cannot write .*small/cache/\w+ \(File exists\); move away the file in place of the folder: mv .*small/cache ",
    ),
    "missing folder": (
        shutil.rmtree,
        r"data/small contains no competition files, .*; or put train\.csv, test\.csv, sample_submission\.csv there",
    ),
    "file instead of the folder": (
        replace_folder_with_file,
        r"data/small contains no competition files",
    ),
}

# Valid files with too few images to train on: edit, number of folds, expected message.
TOO_SMALL: dict[str, tuple[Edit, str, str]] = {
    "3 rows": (
        edit_lines(TRAIN, lambda lines: lines[:4]),
        "5",
        r"class 0 has only 1 distinct image, too few for FOLDS=5; add images",
    ),
    "class with two images": (
        write_images(random_images(22, 4), np.repeat([0, 1], [20, 2]), random_images(5, 4)),
        "5",
        r"class 1 has only 2 distinct images, too few for FOLDS=5; use at most FOLDS=2",
    ),
    "class with two images, two folds": (
        write_images(random_images(22, 4), np.repeat([0, 1], [20, 2]), random_images(5, 4)),
        "2",
        r"class 1 has 2 images, of which only 1 is among the training rows of a fold; knn needs 3: add images, or",
    ),
    "copies of one image per class": (
        write_images(np.repeat(random_images(2, 4), 10, axis=0), np.repeat([0, 1], 10), random_images(5, 4)),
        "2",
        r"class 0 has only 1 distinct image, too few for FOLDS=2",
    ),
    "1,000 classes": (
        write_images(random_images(3000, 4), np.arange(3000) % 1000, random_images(10, 4)),
        "2",
        r"class \d+ has 3 images, of which only 1 is among the training rows of a fold; knn needs 3",
    ),
    "continuous labels": (
        combine(
            edit_column(TRAIN, "label", lambda column: [f"{row / 8}" for row in range(len(column))]),
            write_file("competition.toml", 'target = "class"'),
        ),
        "5",
        r"class 0\.0 has only 1 distinct image, too few for FOLDS=5",
    ),
}

INVALID_NAMES = ("", ".", "..", "../digits", "data/small", "/tmp/small")

INVALID_SUBMISSIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", r"is empty"),
    "web page": (lambda data: WEB_PAGE.encode(), r"is a web page or a server message"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), r"is not UTF-8"),
    "gzipped": (gzip.compress, r"is compressed"),
    "semicolons": (lambda data: data.replace(b",", b";"), r"uses semicolons as separators"),
    "no header": (lambda data: data.split(b"\n", 1)[1], r"has no header"),
    "another header": (
        lambda data: data.replace(b"Label", b"label"),
        r"has the header ImageId,label; expected ImageId,Label",
    ),
    "index column in front": (
        lambda data: data.replace(b"\n", b"\n7,", 20),
        r": line \d+ has more values than the header; quote values",
    ),
    "missing row": (lambda data: data[: data[:-1].rindex(b"\n") + 1], r"has 19 rows; expected 20: run `make submit"),
    "unknown label": (
        lambda data: data.replace(b"\n3,0", b"\n3,11"),
        r"row 3 \(line 4\), column Label: expected a class of the competition, found '11'",
    ),
    "float label": (
        lambda data: data.replace(b"\n3,0", b"\n3,0.0"),
        r"row 3 \(line 4\), column Label: expected a class .*, found '0\.0'",
    ),
    "missing label": (
        lambda data: data.replace(b"\n3,0", b"\n3,"),
        r"row 3 \(line 4\), column Label: expected a class .*, found nothing",
    ),
    "changed id": (
        lambda data: data.replace(b"\n3,", b"\n03,"),
        r"row 3 \(line 4\): expected id 3 as in .*, found 03; keep its ids and row order",
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "data" / "small"
    small_competition(folder)
    return folder


@pytest.fixture(scope="module")
def original(small) -> Dataset:
    return load_dataset(small)


@pytest.fixture
def folder_copy(small, tmp_path, monkeypatch) -> Path:
    """A copy of the small competition in data/ of the current folder."""
    monkeypatch.chdir(tmp_path)
    for module in ("kaggle", "kaggle.api.kaggle_api_extended"):
        monkeypatch.setitem(sys.modules, module, None)  # nothing is downloaded
    before = signal.getsignal(signal.SIGTERM)  # the command line replaces the handler
    yield Path(shutil.copytree(small, tmp_path / "data" / "small", ignore=shutil.ignore_patterns("cache")))
    signal.signal(signal.SIGTERM, before)


def all_files(folder: Path) -> dict[Path, bytes]:
    """The bytes of all files, including hidden ones."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ACCEPTED)
def test_harmless_variations_are_read_correctly(name, folder_copy, small, original, tmp_path, capsys, record_property):
    edit, is_correct = ACCEPTED[name]
    folder = edit(folder_copy) or folder_copy
    assert main(["data", "--competition", folder.name]) == 0, capsys.readouterr().err
    dataset = load_dataset(folder)
    assert is_correct(dataset, original)
    if np.array_equal(dataset.classes, original.classes):
        submitted = submit_labels(folder, dataset, tmp_path / "submission.csv")
        expected = submit_labels(small, original, tmp_path / "submission.csv")
        assert submitted == expected or (
            submitted.keys() != expected.keys() and list(submitted.values()) == list(expected.values())
        )
    record_property("unusual or invalid inputs", 1)


@pytest.mark.parametrize("name", REJECTED)
def test_invalid_files_are_rejected_with_one_line(name, folder_copy, tmp_path, capsys, record_property):
    edit, message = REJECTED[name]
    edit(folder_copy)
    before = all_files(tmp_path)
    assert main(["data", "--competition", "small"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error) and re.search(message, error), error
    assert all_files(tmp_path) == before, "files were written"
    record_property("unusual or invalid inputs", 1)


def test_an_unreadable_file_is_reported(folder_copy, capsys):
    (folder_copy / TEST).chmod(0)
    if os.access(folder_copy / TEST, os.R_OK):
        pytest.skip("root can read all files")
    assert main(["data", "--competition", "small"]) == 2
    assert (
        capsys.readouterr().err
        == "error: data/small/test.csv is not readable; allow it: chmod u+r data/small/test.csv\n"
    )


@pytest.mark.parametrize("name", TOO_SMALL)
def test_too_small_data_is_rejected_before_training(name, folder_copy, tmp_path, capsys, record_property):
    edit, folds, message = TOO_SMALL[name]
    edit(folder_copy)
    assert main(["cv", "--competition", "small", "--models", "knn", "--folds", folds, "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error) and re.search(message, error), error
    assert not list(tmp_path.glob("folds/**/*.npz")) and not (tmp_path / "submissions").exists()
    record_property("unusual or invalid inputs", 1)


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_a_competition_name_is_a_single_folder_name(name, folder_copy, tmp_path, capsys, record_property):
    before = all_files(tmp_path)
    assert main(["data", "--competition", name]) == 2
    assert "expected the name of a folder in data/, got" in capsys.readouterr().err
    assert all_files(tmp_path) == before
    record_property("unusual or invalid inputs", 1)


def test_a_trailing_slash_is_accepted(folder_copy, capsys):
    assert main(["data", "--competition", "small/"]) == 0
    assert "data/small: 120 training" in capsys.readouterr().out


@pytest.mark.parametrize("name", INVALID_SUBMISSIONS)
def test_an_invalid_submission_is_not_evaluated(name, folder_copy, tmp_path, capsys, record_property):
    edit, message = INVALID_SUBMISSIONS[name]
    labels_file = folder_copy / "held_back" / "labels.csv"
    labels_file.parent.mkdir()
    labels_file.write_bytes((folder_copy / SAMPLE).read_bytes())
    submission = tmp_path / "my submission.csv"
    submission.write_bytes(edit((folder_copy / SAMPLE).read_bytes()))
    assert main(["grade", "--competition", "small", "--file", str(submission)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*my submission\.csv.*\n", error) and re.search(message, error), error
    assert [path.name for path in labels_file.parent.iterdir()] == ["labels.csv"]
    record_property("unusual or invalid inputs", 1)


def apply_several_variations(folder: Path) -> Path:
    """Apply several harmless variations, as downloads and spreadsheets produce them; return the new folder."""
    edit_all(lambda data: BYTE_ORDER_MARK + quote_values(data).replace(b"\n", b"\r\n"))(folder)
    combine(symlink_file(TRAIN), zip_files("all of it.zip", TEST), gzip_file(SAMPLE))(folder)
    return rename_folder("Ziffern für Äß 数字")(folder)


@pytest.mark.slow
def test_harmless_variations_give_the_same_submission(command, competition_copy, tmp_path, record_property):
    shutil.copytree(competition_copy, competition_copy.parent / "plain")
    folder = apply_several_variations(competition_copy)
    submitted = []
    for name in ("plain", folder.name):
        process = command("submit", "--competition", name, "--models", "knn", "--folds", "2")
        assert process.returncode == 0, process.stderr
        submitted.append((tmp_path / "submissions" / "submission.csv").read_bytes())
    assert submitted[0] == submitted[1]
    record_property("unusual or invalid inputs", 1)


UNUSUAL_SIZES = {  # rows, pixels, classes, models
    "200x200": (12, 40_000, 2, ["knn"]),
    "2x2 and two classes": (40, 4, 2, ["knn", "svm"]),
    "1,000 classes": (6_000, 16, 1_000, ["knn"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNUSUAL_SIZES)
def test_unusual_sizes_can_be_submitted(name, command, competition_copy, tmp_path, record_property):
    rows, pixels, classes, models = UNUSUAL_SIZES[name]
    write_images(random_images(rows, pixels), np.arange(rows) % classes, random_images(5, pixels))(competition_copy)
    process = command("submit", "--competition", "digits8", "--folds", "2", "--models", " ".join(models))
    assert process.returncode == 0, process.stderr
    assert len(pd.read_csv(tmp_path / "submissions" / "submission.csv")) == 5
    record_property("unusual or invalid inputs", 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["web page", "shuffled pixel columns in test", "gzipped file named .csv"])
def test_a_rejected_run_writes_no_files(name, command, competition_copy, tmp_path):
    REJECTED[name][0](competition_copy)
    before = all_files(tmp_path)
    process = command("submit", "--competition", "digits8", "--models", "knn", "--folds", "2")
    assert process.returncode == 2 and re.fullmatch(r"error: .*\n", process.stderr), process.stderr
    assert re.search(REJECTED[name][1], process.stderr) and all_files(tmp_path) == before


def test_the_readme_states_the_number_of_tested_inputs():
    tables = (
        ACCEPTED,
        REJECTED,
        TOO_SMALL,
        INVALID_NAMES,
        INVALID_SUBMISSIONS,
        UNUSUAL_SIZES,
        [apply_several_variations],
    )
    assert f"{sum(map(len, tables))} unusual or invalid inputs" in (ROOT / "README.md").read_text()
