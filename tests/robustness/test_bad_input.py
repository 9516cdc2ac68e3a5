"""Unusual files are either read correctly or rejected with a one-line error that locates the problem."""

import gzip
import io
import os
import re
import shutil
import signal
import zipfile
from collections.abc import Callable
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
Damage = Callable[[Path], Path | None]  # changes the folder; returns its new path if it moves
PAGE = "<!DOCTYPE html>\n<html><body>Sign in, or register</body></html>\n"
MARK = b"\xef\xbb\xbf"


def small_competition(folder: Path) -> None:
    """Write a competition with a few of the 8x8 digits."""
    images, labels = load_digits(return_X_y=True)
    images = (images * 15.9375).astype(np.uint8)
    n, end = TRAIN_ROWS, TRAIN_ROWS + TEST_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:end], labels[n:end])
    shutil.rmtree(folder / "held_back")


# Ways to change a competition. Rows count from 0 after the header.


def content(file: str, edit: Callable[[bytes], bytes]) -> Damage:
    """Edit the bytes of one file."""
    return lambda folder: (folder / file).write_bytes(edit((folder / file).read_bytes())) and None


def everywhere(edit: Callable[[bytes], bytes]) -> Damage:
    """Edit the bytes of all three files."""
    return together(*(content(file, edit) for file in FILES))


def together(*damages: Damage) -> Damage:
    def both(folder: Path) -> None:
        for damage in damages:
            damage(folder)

    return both


def lines(file: str, edit: Callable[[list[str]], list[str]]) -> Damage:
    return content(file, lambda old: "".join(f"{line}\n" for line in edit(old.decode().splitlines())).encode())


def table(file: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    """Edit a table of text."""

    def changed(folder: Path) -> None:
        edit(pd.read_csv(folder / file, dtype=str)).to_csv(folder / file, index=False)

    return changed


def value(file: str, row: int, column: str, text: str) -> Damage:
    def put(old: pd.DataFrame) -> pd.DataFrame:
        old.loc[row, column] = text
        return old

    return table(file, put)


def column(file: str, name: str, edit: Callable[[pd.Series], object]) -> Damage:
    return table(file, lambda old: old.assign(**{name: edit(old[name])}))


def order(file: str, edit: Callable[[list[str]], list[str]]) -> Damage:
    """Reorder the columns."""
    return table(file, lambda old: old[edit(list(old.columns))])


def header(file: str, edit: Callable[[str], str]) -> Damage:
    return lines(file, lambda old: [edit(old[0]), *old[1:]])


def ids(file: str, names: object, called: str = "ImageId") -> Damage:
    """Insert an id column at the front, or replace its ids."""

    def named(old: pd.DataFrame) -> pd.DataFrame:
        rest = old.drop(columns="ImageId", errors="ignore")
        rest.insert(0, called, list(names))
        return rest

    return table(file, named)


def images(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Damage:
    def written(folder: Path) -> None:
        write_competition(folder, train, labels, test, np.resize(labels, len(test)))
        shutil.rmtree(folder / "held_back")

    return written


def renamed(name: str) -> Damage:
    return lambda folder: folder.rename(folder.parent / name)


def gzipped(file: str) -> Damage:
    def packed(folder: Path) -> None:
        (folder / f"{file}.gz").write_bytes(gzip.compress((folder / file).read_bytes()))
        (folder / file).unlink()

    return packed


def zipped(archive: str, *files: str, inside: str = "") -> Damage:
    def packed(folder: Path) -> None:
        with zipfile.ZipFile(folder / archive, "w", zipfile.ZIP_DEFLATED) as members:
            for file in files:
                members.write(folder / file, f"{inside}{file}")
                (folder / file).unlink()

    return packed


def linked(file: str) -> Damage:
    """Move a file and leave a symlink."""

    def moved(folder: Path) -> None:
        elsewhere = folder.parent.parent / f"my {file}"
        (folder / file).rename(elsewhere)
        (folder / file).symlink_to(elsewhere)

    return moved


def linked_folder(folder: Path) -> None:
    elsewhere = folder.parent.parent / "downloads"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere, target_is_directory=True)


def gone(file: str) -> Damage:
    return lambda folder: (folder / file).unlink()


def folder_instead(file: str) -> Damage:
    return together(gone(file), lambda folder: (folder / file).mkdir())


def dangling(file: str) -> Damage:
    return together(gone(file), lambda folder: (folder / file).symlink_to("nowhere.csv"))


def swap_files(one: str, other: str) -> Damage:
    def swapped(folder: Path) -> None:
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        (folder / one).write_bytes(second)
        (folder / other).write_bytes(first)

    return swapped


def noise(rows: int, pixels: int) -> np.ndarray:
    return np.random.default_rng(pixels).integers(0, 256, (rows, pixels)).astype(np.uint8)


def packed_inside(old: bytes) -> bytes:
    """A zip archive that contains the file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(TRAIN, old)
    return archive.getvalue()


def quoted(old: bytes) -> bytes:
    return re.sub(rb"[^,\n]+", rb'"\g<0>"', old)


def saved_index(old: list[str]) -> list[str]:
    return [f"{'' if number == 0 else number - 1},{line}" for number, line in enumerate(old)]


def shuffled(names: list[str]) -> list[str]:
    return [str(name) for name in np.random.default_rng(0).permutation(names)]


def text_order(old: pd.DataFrame) -> pd.DataFrame:
    return old.sort_values("ImageId")


def padded(rows: int) -> list[str]:
    return [f"{row:03}" for row in range(rows)]


# Checks for files that must be accepted. The submission's labels are computed from the images alone, so that comparing
# submissions shows whether images and ids still match.


def submit_labels(folder: Path, dataset: Dataset, target: Path) -> dict[str, str]:
    chosen = dataset.test_images.reshape(len(dataset.test_ids), -1).sum(axis=1) % len(dataset.classes)
    write_submission(np.eye(len(dataset.classes))[chosen], dataset, Sample(folder / SAMPLE), target)
    read_submission(target, Sample(folder / SAMPLE), dataset.classes)
    return dict(read_text(target).itertuples(index=False, name=None))


def same(dataset: Dataset, good: Dataset) -> bool:
    """All arrays are equal."""
    fields = ("images", "labels", "classes", "train_ids", "test_ids", "test_images")
    return all(np.array_equal(getattr(dataset, field), getattr(good, field)) for field in fields)


def same_images(dataset: Dataset, good: Dataset) -> bool:
    """The images are equal; classes or ids may have other names."""
    return all(np.array_equal(getattr(dataset, field), getattr(good, field)) for field in ("images", "test_images"))


def brightness(row: int, pixel: int, expected: int) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, good: (
        dataset.images[row].ravel()[pixel] == expected and np.array_equal(dataset.labels, good.labels)
    )


def classes(*names: str) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, good: (
        list(dataset.classes) == list(names) and list(dataset.classes[dataset.labels][:3]) == list(names[:3])
    )


def shape(rows: int, side: int, count: int) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, good: dataset.images.shape == (rows, side, side, 1) and len(dataset.classes) == count


def twice(dataset: Dataset, good: Dataset) -> bool:
    return np.array_equal(dataset.images[TRAIN_ROWS:], good.images[:10])


HARMLESS: dict[str, tuple[Damage, Callable[[Dataset, Dataset], bool]]] = {
    "byte order mark": (everywhere(lambda old: MARK + old), same),
    "CRLF": (everywhere(lambda old: old.replace(b"\n", b"\r\n")), same),
    "CR": (everywhere(lambda old: old.replace(b"\n", b"\r")), same),
    "CR here, LF there": (lines(TRAIN, lambda old: [*(f"{line}\r" for line in old[:50]), *old[50:]]), same),
    "no last line end": (everywhere(lambda old: old.rstrip(b"\n")), same),
    "blank lines": (lines(TRAIN, lambda old: [part for line in old for part in (line, "")]), same),
    "quoted numbers": (everywhere(quoted), same),
    "quotes, mark and CRLF": (everywhere(lambda old: MARK + quoted(old).replace(b"\n", b"\r\n")), same),
    "blanks behind commas": (everywhere(lambda old: old.replace(b",", b", ")), same_images),
    "blanks in the header": (header(TRAIN, lambda old: old.replace(",", " , ")), same),
    "trailing commas in rows": (lines(TRAIN, lambda old: [old[0], *(f"{line}," for line in old[1:])]), same),
    "whole float": (value(TRAIN, 3, "pixel5", "17.0"), brightness(3, 5, 17)),
    "scientific": (value(TRAIN, 3, "pixel5", "1.7e1"), brightness(3, 5, 17)),
    "plus sign": (value(TRAIN, 3, "pixel5", "+17"), brightness(3, 5, 17)),
    "padded pixel": (value(TRAIN, 3, "pixel5", "017"), brightness(3, 5, 17)),
    "float labels": (column(TRAIN, "label", lambda old: old + ".0"), same),
    "a float among labels": (value(TRAIN, 3, "label", "3.0"), same),
    "scientific labels": (column(TRAIN, "label", lambda old: old + "e0"), same),
    "blanks around labels": (column(TRAIN, "label", lambda old: "  " + old + " "), same),
    "padded labels": (column(TRAIN, "label", lambda old: "0" + old), classes(*(f"0{digit}" for digit in range(10)))),
    "text labels": (
        column(TRAIN, "label", lambda old: old + "é 数"),
        classes(*(f"{digit}é 数" for digit in range(10))),
    ),
    "None is a name": (
        column(TRAIN, "label", lambda old: old.map(lambda digit: "NA" if digit == "9" else f"K{digit}")),
        classes(*(f"K{digit}" for digit in range(9)), "NA"),
    ),
    "label last": (order(TRAIN, lambda names: [*names[1:], names[0]]), same),
    "label in the middle": (order(TRAIN, lambda names: [*names[1:30], names[0], *names[30:]]), same),
    "columns called by numbers alone": (
        together(*(header(file, lambda old: old.replace("pixel", "")) for file in (TRAIN, TEST))),
        same,
    ),
    "labels beyond 2 to the 53rd": (
        column(TRAIN, "label", lambda old: (old.astype(int) + 2**60).astype(str)),
        classes(*(str(2**60 + digit) for digit in range(10))),
    ),
    "label in capitals": (header(TRAIN, lambda old: old.replace("label", "LABEL")), same),
    "row numbers in train": (ids(TRAIN, range(1, TRAIN_ROWS + 1)), same),
    "row numbers, label called otherwise": (
        together(ids(TRAIN, range(1, TRAIN_ROWS + 1)), header(SAMPLE, lambda old: "ImageId,Category")),
        same,
    ),
    "ids in another order": (
        together(ids(TEST, range(1, TEST_ROWS + 1)), table(TEST, lambda old: old[::-1])),
        lambda dataset, good: list(dataset.test_ids) == list(range(TEST_ROWS, 0, -1)),
    ),
    "sample in another order, ids in test": (
        together(ids(TEST, range(1, TEST_ROWS + 1)), table(SAMPLE, text_order)),
        same,
    ),
    "id column last": (
        together(ids(TEST, range(1, TEST_ROWS + 1)), order(TEST, lambda names: [*names[1:], names[0]])),
        same,
    ),
    "padded ids under another spelling": (
        together(ids(SAMPLE, padded(TEST_ROWS)), ids(TEST, padded(TEST_ROWS), "imageid")),
        lambda dataset, good: dataset.test_ids[7] == "007" and same_images(dataset, good),
    ),
    "padded ids under a name with blanks": (
        together(ids(SAMPLE, padded(TEST_ROWS), " ImageId"), ids(TEST, padded(TEST_ROWS), "ImageId ")),
        lambda dataset, good: dataset.test_ids[7] == "007" and same_images(dataset, good),
    ),
    "float ids": (column(SAMPLE, "ImageId", lambda old: old + ".0"), same_images),
    "ids with thousands separators": (
        ids(SAMPLE, [f"1,{row:03}" for row in range(TEST_ROWS)]),
        lambda dataset, good: dataset.test_ids[7] == "1,007" and same_images(dataset, good),
    ),
    "ids beyond 2 to the 53rd": (
        ids(SAMPLE, [str(2**60 + row) for row in range(TEST_ROWS)]),
        lambda dataset, good: dataset.test_ids[1] == str(2**60 + 1) and same_images(dataset, good),
    ),
    "non-ASCII ids": (
        ids(SAMPLE, [f"Bild ä{row}, 数" for row in range(TEST_ROWS)]),
        lambda dataset, good: dataset.test_ids[1] == "Bild ä1, 数" and same_images(dataset, good),
    ),
    "rows twice": (lines(TRAIN, lambda old: [*old, *old[1:11]]), twice),
    "a class with two members": (
        images(noise(22, 4), np.repeat([0, 1], [20, 2]), noise(5, 4)),
        shape(22, 2, 2),
    ),
    "1,000 classes": (images(noise(3000, 4), np.arange(3000) % 1000, noise(10, 4)), shape(3000, 2, 1000)),
    "3 rows": (lines(TRAIN, lambda old: old[:4]), shape(3, 8, 3)),
    "gz of a file": (gzipped(TRAIN), same),
    "gz of all": (together(*(gzipped(file) for file in FILES)), same),
    "zip of a file": (zipped("train.csv.zip", TRAIN), same),
    "zip of the competition": (zipped("digit-recognizer.zip", *FILES), same),
    "zip with a folder inside": (zipped("all.zip", *FILES, inside="digits/"), same),
    "symlinks to files": (together(*(linked(file) for file in FILES)), same),
    "symlink to the folder": (linked_folder, same),
    "a name with spaces": (renamed("my digits, again"), same),
    "a non-ASCII name": (renamed("Ziffern für Äß 数字"), same),
    "a name that looks like a pattern": (renamed("digits[8]*"), same),
}

REJECTED: dict[str, tuple[Damage, str]] = {
    "UTF-16": (everywhere(lambda old: old.decode().encode("utf-16")), r"train\.csv is not in UTF-8 .* iconv -f UTF-16"),
    "UTF-16 without a mark": (content(TEST, lambda old: old.decode().encode("utf-16-le")), r"test\.csv .* iconv"),
    "Latin-1": (
        together(value(TRAIN, 3, "label", "drei é"), content(TRAIN, lambda old: old.decode("utf-8").encode("latin-1"))),
        r"train\.csv is not in UTF-8; convert it, for example: iconv -f WINDOWS-1252",
    ),
    "semicolons": (everywhere(lambda old: old.replace(b",", b";")), r"train\.csv is separated by semicolons"),
    "tabs": (
        content(TEST, lambda old: old.replace(b",", b"\t")),
        r"test\.csv is separated by tabs; save it with commas",
    ),
    "thousands separator in a pixel": (
        value(TRAIN, 3, "pixel5", "1,234"),
        r"row 4 \(line 5\), column pixel5: expected an integer 0-255, found '1,234",
    ),
    "thousands separator in a label": (
        value(TRAIN, 3, "label", "1,234"),
        r"row 4 \(line 5\), column label: expected a label, found '1,234'",
    ),
    "decimal comma": (
        value(TRAIN, 3, "pixel5", "17,0"),
        r"train\.csv: row 4 \(line 5\), column pixel5: expected an integer 0-255, found '17,0'",
    ),
    "text": (
        value(TRAIN, 6, "pixel2", "abc"),
        r"train\.csv: row 7 \(line 8\), column pixel2: expected an integer 0-255, found 'abc'",
    ),
    "escape sequence": (
        value(TRAIN, 6, "pixel2", "\x1b[2J"),
        r"row 7 \(line 8\), column pixel2: expected an integer 0-255, found ' \[2J",
    ),
    "hexadecimal": (
        value(TRAIN, 6, "pixel2", "0x1F"),
        r"row 7 \(line 8\), column pixel2: expected an integer 0-255, found '0x1F",
    ),
    "too bright": (
        value(TRAIN, 1, "pixel0", "256"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '256",
    ),
    "far too bright": (
        value(TRAIN, 1, "pixel0", "1" + 30 * "0"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '1000",
    ),
    "negative": (
        value(TRAIN, 1, "pixel0", "-1"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '-1",
    ),
    "fraction": (
        value(TRAIN, 1, "pixel0", "0.5"),
        r"row 2 \(line 3\), column pixel0: expected an integer 0-255, found '0\.5",
    ),
    "True": (
        column(TEST, "pixel7", lambda old: "True"),
        r"test\.csv: row 1 \(line 2\), column pixel7: expected an integer 0-255, found 'True",
    ),
    "missing": (
        value(TEST, 0, "pixel9", ""),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found nothing",
    ),
    "NaN": (
        value(TEST, 0, "pixel9", "NaN"),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found 'NaN",
    ),
    "infinite": (
        value(TEST, 0, "pixel9", "inf"),
        r"test\.csv: row 1 \(line 2\), column pixel9: expected an integer 0-255, found 'inf",
    ),
    "missing label": (
        value(TRAIN, 9, "label", ""),
        r"row 10 \(line 11\), column label: expected a label, found nothing",
    ),
    "NA for a label": (
        value(TRAIN, 9, "label", "NA"),
        r"row 10 \(line 11\), column label: expected a label, found 'NA'",
    ),
    "null for a label": (
        value(TRAIN, 9, "label", "null"),
        r"row 10 \(line 11\), column label: expected a label, found 'null'",
    ),
    "a label in two spellings": (
        together(column(TRAIN, "label", lambda old: "0" + old), value(TRAIN, 13, "label", "3")),
        r"row 14 \(line 15\), column label: expected '03' as in earlier rows, found '3'",
    ),
    "one class": (column(TRAIN, "label", lambda old: "3"), r"train\.csv: every label in column label is 3"),
    "one row": (lines(TRAIN, lambda old: old[:2]), r"train\.csv: every label in column label is 0"),
    "1x1": (
        images(noise(20, 1), np.arange(20) % 2, noise(5, 1)),
        r"train\.csv has 1 pixel columns; expected at least 4, for 2x2",
    ),
    "no square": (
        together(*(table(file, lambda old: old.drop(columns="pixel63")) for file in (TRAIN, TEST))),
        r"train\.csv has 63 pixel columns, which fit no square",
    ),
    "a pixel column missing": (
        together(*(table(file, lambda old: old.drop(columns="pixel17")) for file in (TRAIN, TEST))),
        r"train\.csv and test\.csv lack column pixel17",
    ),
    "a pixel column missing in test": (
        table(TEST, lambda old: old.drop(columns="pixel17")),
        r"test\.csv lacks .*pixel17",
    ),
    "a column too many in test": (
        table(TEST, lambda old: old.assign(extra="1")),
        r"train\.csv lacks column extra, which",
    ),
    "shuffled pixels in test": (
        order(TEST, shuffled),
        r"test\.csv: expected column pixel0 as in train\.csv, found pixel\d+",
    ),
    "two pixels exchanged in train": (
        order(TRAIN, lambda names: [*names[:5], names[6], names[5], *names[7:]]),
        r"test\.csv: expected column pixel5 as in train\.csv, found pixel4",
    ),
    "pixels in the order of text": (
        together(order(TRAIN, lambda names: [names[0], *sorted(names[1:])]), order(TEST, sorted)),
        r"train\.csv and test\.csv: expected column pixel2, found pixel10",
    ),
    "a 40,000th column called otherwise": (
        together(
            images(noise(3, 40_000), np.arange(3), noise(2, 40_000)),
            header(TEST, lambda old: old.replace("pixel39999", "last")),
        ),
        r"test\.csv lacks column pixel39999, which train\.csv has",
    ),
    "no header": (lines(TRAIN, lambda old: old[1:]), r"train\.csv has no header; add a first line"),
    "no header in the sample": (lines(SAMPLE, lambda old: old[1:]), r"sample_submission\.csv has no header"),
    "header twice": (
        lines(TRAIN, lambda old: [old[0], *old]),
        r"train\.csv: row 1 \(line 2\), column pixel0: expected an integer 0-255, found 'pixel0",
    ),
    "a column twice": (
        together(*(header(file, lambda old: old.replace("pixel6,", "pixel5,")) for file in (TRAIN, TEST))),
        r"train\.csv has 2 columns named pixel5",
    ),
    "label twice": (
        lines(TRAIN, lambda old: [f"{line},{line.split(',')[0]}" for line in old]),
        r"train\.csv has 2 columns named label",
    ),
    "a saved index": (
        together(*(lines(file, saved_index) for file in FILES)),
        r"train\.csv: column 1 of 66 has no name",
    ),
    "trailing commas": (lines(TRAIN, lambda old: [f"{line}," for line in old]), r"train\.csv: column 66 of 66 has no"),
    "a line break in a name": (
        header(TRAIN, lambda old: old.replace("pixel6,", '"pixel\n6",')),
        r"train\.csv: the name of column pixel 6 has a line break",
    ),
    "a comment first": (lines(TRAIN, lambda old: ["# of Kaggle", *old]), r"train\.csv lacks column pixel0, which"),
    "sep= of spreadsheets": (lines(TRAIN, lambda old: ["sep=,", *old]), r"train\.csv: column 2 of 2 has no name"),
    "a long row": (lines(TRAIN, lambda old: [*old[:9], old[9] + ",7", *old[10:]]), r"train\.csv.*line 10, saw 66"),
    "longer rows throughout": (
        lines(TRAIN, lambda old: [old[0], *(f"{line},7" for line in old[1:])]),
        r"train\.csv has rows with more values than its header",
    ),
    "cut in a row": (
        content(TRAIN, lambda old: old[:-100]),
        r"train\.csv: row 120 .* expected an integer 0-255, found nothing",
    ),
    "zero bytes at the end": (content(TRAIN, lambda old: old[:-500] + bytes(500)), r"train\.csv: row 118 \(line 119\)"),
    "zero bytes alone": (content(TRAIN, lambda old: bytes(len(old))), r"train\.csv contains zero bytes"),
    "the end mark of DOS": (content(TRAIN, lambda old: old + b"\x1a"), r"train\.csv: row 121 .* found nothing"),
    "an open quote": (
        content(TRAIN, lambda old: old.replace(b"\n5,", b'\n"5,', 1)),
        r"train\.csv is not a CSV file: EOF inside string starting at row 6",
    ),
    "a quote that swallows rows": (
        content(TRAIN, lambda old: old.replace(b"\n5,", b'\n"5,', 2)),
        r"train\.csv: row 6 \(line 7\), column label: .*close open quotes",
    ),
    "an empty file": (content(TRAIN, lambda old: b""), r"train\.csv is empty"),
    "an empty sample": (content(SAMPLE, lambda old: MARK), r"sample_submission\.csv is empty"),
    "blank lines alone": (content(TEST, lambda old: b"\r\n\r\n"), r"test\.csv is empty"),
    "a header alone": (lines(TRAIN, lambda old: old[:1]), r"train\.csv has a header but no rows"),
    "a web page": (content(TRAIN, lambda old: PAGE.encode()), r"train\.csv is a web page or a server message"),
    "a web page for the sample": (content(SAMPLE, lambda old: PAGE.encode()), r"sample_submission\.csv is a web page"),
    "a server's message": (
        content(TEST, lambda old: b'{"code":403,"message":"rules"}'),
        r"test\.csv is a web page or",
    ),
    "a pointer to the file": (
        content(TRAIN, lambda old: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        r"train\.csv lacks column pixel0",
    ),
    "a picture": (
        content(TEST, lambda old: b"\x89PNG\r\n\x1a\n" + bytes(64) + noise(64, 64).tobytes()),
        r"test\.csv contains zero bytes",
    ),
    "gz under its content's name": (content(TRAIN, gzip.compress), r"is compressed; .*: mv (\S+train\.csv) \1\.gz"),
    "zip under its content's name": (content(TRAIN, packed_inside), r"is compressed; .*: mv (\S+train\.csv) \1\.zip"),
    "a damaged gz": (
        together(gzipped(TRAIN), content(f"{TRAIN}.gz", lambda old: old[:-40])),
        r"cannot unpack .*train\.csv\.gz: .*; download it again",
    ),
    "a gz that is none": (
        together(gone(TRAIN), lambda folder: (folder / f"{TRAIN}.gz").write_text(PAGE) and None),
        r"cannot unpack .*train\.csv\.gz: Not a gzipped file",
    ),
    "a damaged zip": (
        together(zipped("all.zip", *FILES), content("all.zip", lambda old: old[:60] + b"\xff\xff\xff" + old[63:])),
        r"cannot unpack .*all\.zip: .*; download it again",
    ),
    "a zip that is none": (
        together(gone(TRAIN), lambda folder: (folder / "all.zip").write_text(PAGE) and None),
        r"cannot unpack .*all\.zip: File is not a zip file",
    ),
    "a zip without the file": (zipped("train.csv.zip", TRAIN, inside="old-"), r"small lacks train\.csv; add it to"),
    "no label": (
        lines(TRAIN, lambda old: [line.split(",", 1)[1] for line in old]),
        r"train\.csv has the same columns as test",
    ),
    "labels in test": (table(TEST, lambda old: old.assign(label="0")), r"train\.csv has the same columns as test\.csv"),
    "train and test exchanged": (swap_files(TRAIN, TEST), r"train\.csv has no label, .* are the files swapped"),
    "test and sample exchanged": (
        swap_files(TEST, SAMPLE),
        r"csv has more columns than test\.csv; are the files swapped",
    ),
    "the sample's columns exchanged": (
        order(SAMPLE, lambda names: names[::-1]),
        r"sample_submission\.csv: the first column",
    ),
    "a sample of one column": (
        table(SAMPLE, lambda old: old[["ImageId"]]),
        r"csv has 1 column; expected an id and a label",
    ),
    "a sample of three columns": (
        table(SAMPLE, lambda old: old.assign(more="0")),
        r"sample_submission\.csv has 2 columns besides the id, Label, more; expected one label, or the 10 classes",
    ),
    "a short test": (
        lines(TEST, lambda old: old[:-5]),
        r"test\.csv has 15 rows, but sample_submission\.csv has 20; one of",
    ),
    "a row of test twice": (
        lines(TEST, lambda old: [*old, old[-1]]),
        r"test\.csv has 21 rows, but sample_submission\.csv has 20",
    ),
    "a row of the sample twice": (
        lines(SAMPLE, lambda old: [*old[:-1], old[-2]]),
        r"sample_submission\.csv: row 20 .* column ImageId: expected an id that no earlier row has, found '19'",
    ),
    "a missing id": (
        value(SAMPLE, 4, "ImageId", ""),
        r"sample_submission\.csv: row 5 .* expected an id, found nothing",
    ),
    "an id twice in test": (
        ids(TEST, [*range(1, TEST_ROWS), 1]),
        r"test\.csv: row 20 \(line 21\), column ImageId: expected an id that no earlier row has, found '1'",
    ),
    "an id twice in train": (
        ids(TRAIN, [*range(1, TRAIN_ROWS), 1]),
        r"train\.csv: row 120 \(line 121\), column ImageId: expected an id that no earlier row has, found '1'",
    ),
    "an id that the sample lacks": (
        ids(TEST, [*range(1, TEST_ROWS), 999]),
        r"test\.csv: row 20 \(line 21\), column ImageId: expected an id of sample_submission\.csv, found '999'",
    ),
    "float ids in the sample alone": (
        together(column(SAMPLE, "ImageId", lambda old: old + ".0"), ids(TEST, range(1, TEST_ROWS + 1))),
        r"test\.csv: row 1 \(line 2\), column ImageId: expected an id of sample_submission\.csv, found '1'",
    ),
    "a sample turned round, no ids in test": (
        table(SAMPLE, lambda old: old[::-1]),
        r"sample_submission\.csv: row 2 \(line 3\), column ImageId: expected increasing ids, .* found '19'",
    ),
    "a sample in the order of text, no ids in test": (
        table(SAMPLE, text_order),
        r"sample_submission\.csv: row 12 \(line 13\), column ImageId: expected increasing ids, .* found '2'",
    ),
    "a missing file": (gone(SAMPLE), r"small lacks sample_submission\.csv; add it to the other files"),
    "another spelling of a file": (
        lambda folder: (folder / TRAIN).rename(folder / "Train.csv") and None,
        r"lacks train\.csv",
    ),
    "a symlink to nowhere": (dangling(TRAIN), r"small lacks train\.csv"),
    "a folder for a file": (folder_instead(TRAIN), r"train\.csv is not a file; move it away"),
    "a file in the place of the cache": (
        lambda folder: (folder / "cache").write_text("") and None,
        r"cannot write .*small/cache/\w+ \(File exists\); move away the file in place of the folder: mv .*small/cache ",
    ),
    "no folder": (
        shutil.rmtree,
        r"data/small has no competition; put train\.csv, test\.csv, sample_submission\.csv there",
    ),
    "a file for the folder": (
        together(shutil.rmtree, lambda folder: folder.write_text("") and None),
        r"data/small has no competition",
    ),
}

# Valid files with too few images to train on.
TOO_SMALL: dict[str, tuple[Damage, str, str]] = {
    "3 rows": (
        lines(TRAIN, lambda old: old[:4]),
        "5",
        r"class 0 has 1 different images, too few for FOLDS=5; add images",
    ),
    "a class with two members": (
        images(noise(22, 4), np.repeat([0, 1], [20, 2]), noise(5, 4)),
        "5",
        r"class 1 has 2 different images, too few for FOLDS=5; use at most FOLDS=2",
    ),
    "two members and as many folds": (
        images(noise(22, 4), np.repeat([0, 1], [20, 2]), noise(5, 4)),
        "2",
        r"class 1 has 2 images, and only 1 of them are in the training rows of a fold; knn needs 3: add images, or",
    ),
    "copies of one image": (
        images(np.repeat(noise(2, 4), 10, axis=0), np.repeat([0, 1], 10), noise(5, 4)),
        "2",
        r"class 0 has 1 different images, too few for FOLDS=2",
    ),
    "1,000 classes": (
        images(noise(3000, 4), np.arange(3000) % 1000, noise(10, 4)),
        "2",
        r"class \d+ has 3 images, and only 1 of them are in the training rows of a fold; knn needs 3",
    ),
    "labels that are measurements": (
        column(TRAIN, "label", lambda old: [f"{row / 8}" for row in range(len(old))]),
        "5",
        r"class 0\.0 has 1 different images, too few for FOLDS=5",
    ),
}

INVALID_NAMES = ("", ".", "..", "../digits", "data/small", "/tmp/small")

INVALID_SUBMISSIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda old: b"", r"is empty"),
    "a web page": (lambda old: PAGE.encode(), r"is a web page or a server message"),
    "UTF-16": (lambda old: old.decode().encode("utf-16"), r"is not in UTF-8"),
    "packed": (gzip.compress, r"is compressed"),
    "semicolons": (lambda old: old.replace(b",", b";"), r"is separated by semicolons"),
    "no header": (lambda old: old.split(b"\n", 1)[1], r"has no header"),
    "another header": (
        lambda old: old.replace(b"Label", b"label"),
        r"has the header ImageId,label; expected ImageId,Label",
    ),
    "an index in front": (lambda old: old.replace(b"\n", b"\n7,", 20), r"has rows with more values than its header"),
    "a row short": (lambda old: old[: old[:-1].rindex(b"\n") + 1], r"has 19 rows; expected 20 as in"),
    "a label that is none": (
        lambda old: old.replace(b"\n3,0", b"\n3,11"),
        r"row 3 \(line 4\), column Label: 11 is not a class",
    ),
    "a float for a label": (
        lambda old: old.replace(b"\n3,0", b"\n3,0.0"),
        r"row 3 \(line 4\), column Label: 0\.0 is no",
    ),
    "no label": (lambda old: old.replace(b"\n3,0", b"\n3,"), r"row 3 \(line 4\), column Label: .* is not a class"),
    "another id": (lambda old: old.replace(b"\n3,", b"\n03,"), r"row 3 \(line 4\), column ImageId: 03 is not the id"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "data" / "small"
    small_competition(folder)
    return folder


@pytest.fixture(scope="module")
def good(small) -> Dataset:
    return load_dataset(small)


@pytest.fixture
def place(small, tmp_path, monkeypatch) -> Path:
    """A copy of the small competition, in the current folder."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)  # the command line replaces the handler
    yield Path(shutil.copytree(small, tmp_path / "data" / "small", ignore=shutil.ignore_patterns("cache")))
    signal.signal(signal.SIGTERM, before)


def everything(folder: Path) -> dict[Path, bytes]:
    """The bytes of all files, including hidden ones."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_variations_are_read_correctly(name, place, small, good, tmp_path, capsys, record_property):
    damage, is_correct = HARMLESS[name]
    folder = damage(place) or place
    assert main(["data", "--competition", folder.name]) == 0, capsys.readouterr().err
    dataset = load_dataset(folder)
    assert is_correct(dataset, good)
    if np.array_equal(dataset.classes, good.classes):
        ours, expected = (
            submit_labels(*each, tmp_path / "submission.csv") for each in ((folder, dataset), (small, good))
        )
        assert ours == expected or (ours.keys() != expected.keys() and list(ours.values()) == list(expected.values()))
    record_property("defective inputs", 1)


@pytest.mark.parametrize("name", REJECTED)
def test_invalid_files_are_rejected_with_one_line(name, place, tmp_path, capsys, record_property):
    damage, message = REJECTED[name]
    damage(place)
    before = everything(tmp_path)
    assert main(["data", "--competition", "small"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error) and re.search(message, error), error
    assert everything(tmp_path) == before, "something was written"
    record_property("defective inputs", 1)


def test_an_unreadable_file_is_reported(place, capsys):
    (place / TEST).chmod(0)
    if os.access(place / TEST, os.R_OK):
        pytest.skip("root can read all files")
    assert main(["data", "--competition", "small"]) == 2
    assert (
        capsys.readouterr().err
        == "error: data/small/test.csv is not readable; allow it: chmod u+r data/small/test.csv\n"
    )


@pytest.mark.parametrize("name", TOO_SMALL)
def test_too_small_data_is_rejected_before_training(name, place, tmp_path, capsys, record_property):
    damage, folds, message = TOO_SMALL[name]
    damage(place)
    assert main(["cv", "--competition", "small", "--models", "knn", "--folds", folds, "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error) and re.search(message, error), error
    assert not list(tmp_path.glob("folds/**/*.npz")) and not (tmp_path / "submissions").exists()
    record_property("defective inputs", 1)


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_a_competition_name_is_a_single_folder_name(name, place, tmp_path, capsys, record_property):
    before = everything(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "--competition", name])
    assert end.value.code == 2 and "expected the name of a folder in data/, got" in capsys.readouterr().err
    assert everything(tmp_path) == before
    record_property("defective inputs", 1)


def test_a_trailing_slash_is_accepted(place, capsys):
    assert main(["data", "--competition", "small/"]) == 0
    assert "data/small: 120 training" in capsys.readouterr().out


@pytest.mark.parametrize("name", INVALID_SUBMISSIONS)
def test_an_invalid_submission_is_not_evaluated(name, place, tmp_path, capsys, record_property):
    damage, message = INVALID_SUBMISSIONS[name]
    labels_file = place / "held_back" / "labels.csv"
    labels_file.parent.mkdir()
    labels_file.write_bytes((place / SAMPLE).read_bytes())
    submission = tmp_path / "my submission.csv"
    submission.write_bytes(damage((place / SAMPLE).read_bytes()))
    assert main(["grade", "--competition", "small", "--file", str(submission)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*my submission\.csv.*\n", error) and re.search(message, error), error
    assert [path.name for path in labels_file.parent.iterdir()] == ["labels.csv"]
    record_property("defective inputs", 1)


def vary_harmlessly(folder: Path) -> Path:
    """Several harmless variations at once, as downloads and spreadsheets produce them."""
    everywhere(lambda old: MARK + quoted(old).replace(b"\n", b"\r\n"))(folder)
    together(linked(TRAIN), zipped("all of it.zip", TEST), gzipped(SAMPLE))(folder)
    return renamed("Ziffern für Äß 数字")(folder)


@pytest.mark.slow
def test_harmless_variations_give_the_same_submission(command, competition_copy, tmp_path, record_property):
    shutil.copytree(competition_copy, competition_copy.parent / "plain")
    folder = vary_harmlessly(competition_copy)
    submitted = []
    for name in ("plain", folder.name):
        process = command("submit", "--competition", name, "--models", "knn", "--folds", "2")
        assert process.returncode == 0, process.stderr
        submitted.append((tmp_path / "submissions" / "submission.csv").read_bytes())
    assert submitted[0] == submitted[1]
    record_property("defective inputs", 1)


UNUSUAL_SIZES = {  # rows, pixels, classes, models
    "200x200": (12, 40_000, 2, ["knn"]),
    "2x2 and two classes": (40, 4, 2, ["knn", "svm"]),
    "1,000 classes": (6_000, 16, 1_000, ["knn"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNUSUAL_SIZES)
def test_unusual_sizes_can_be_submitted(name, command, competition_copy, tmp_path, record_property):
    rows, pixels, classes, models = UNUSUAL_SIZES[name]
    images(noise(rows, pixels), np.arange(rows) % classes, noise(5, pixels))(competition_copy)
    process = command("submit", "--competition", "digits8", "--folds", "2", "--models", *models)
    assert process.returncode == 0, process.stderr
    assert len(pd.read_csv(tmp_path / "submissions" / "submission.csv")) == 5
    record_property("defective inputs", 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a web page", "shuffled pixels in test", "gz under its content's name"])
def test_a_rejected_run_writes_no_files(name, command, competition_copy, tmp_path):
    REJECTED[name][0](competition_copy)
    before = everything(tmp_path)
    process = command("submit", "--competition", "digits8", "--models", "knn", "--folds", "2")
    assert process.returncode == 2 and re.fullmatch(r"error: .*\n", process.stderr), process.stderr
    assert re.search(REJECTED[name][1], process.stderr) and everything(tmp_path) == before


def test_the_readme_states_the_number_of_tested_inputs():
    tables = (HARMLESS, REJECTED, TOO_SMALL, INVALID_NAMES, INVALID_SUBMISSIONS, UNUSUAL_SIZES, [vary_harmlessly])
    assert f"{sum(map(len, tables))} defective inputs" in (ROOT / "README.md").read_text()
