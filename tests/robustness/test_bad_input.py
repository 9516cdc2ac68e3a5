"""Whatever lies in a competition's folder is read right or refused in one line; nothing is misread or half-written."""

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
from competition.data.csv_files import text
from competition.data.dataset import Dataset, load
from competition.data.practice import write_competition
from competition.data.sources import FILES
from competition.submission.format import Sample, check, write

TRAIN, TEST, SAMPLE = FILES
TRAIN_ROWS, TEST_ROWS, PIXELS = 120, 20, 64
Damage = Callable[[Path], Path | None]  # of the folder; it gives the new one where that has moved
PAGE = "<!DOCTYPE html>\n<html><body>Sign in, or register</body></html>\n"
MARK = b"\xef\xbb\xbf"


def small_competition(folder: Path) -> None:
    """The 8x8 digits as they are, a few of them."""
    images, labels = load_digits(return_X_y=True)
    images = (images * 15.9375).astype(np.uint8)
    n, end = TRAIN_ROWS, TRAIN_ROWS + TEST_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:end], labels[n:end])
    shutil.rmtree(folder / "sealed")


# What may be done to a competition. Rows and columns count from 0, the header being no row.


def content(file: str, edit: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of one file."""
    return lambda folder: (folder / file).write_bytes(edit((folder / file).read_bytes())) and None


def everywhere(edit: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of all three."""
    return together(*(content(file, edit) for file in FILES))


def together(*damages: Damage) -> Damage:
    def both(folder: Path) -> None:
        for damage in damages:
            damage(folder)

    return both


def lines(file: str, edit: Callable[[list[str]], list[str]]) -> Damage:
    return content(file, lambda old: "".join(f"{line}\n" for line in edit(old.decode().splitlines())).encode())


def table(file: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    """Change the table, all of it text."""

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
    """Put whole columns in another order."""
    return table(file, lambda old: old[edit(list(old.columns))])


def header(file: str, edit: Callable[[str], str]) -> Damage:
    return lines(file, lambda old: [edit(old[0]), *old[1:]])


def ids(file: str, names: object, called: str = "ImageId") -> Damage:
    """Put an id column in front, or write other ids into it."""

    def named(old: pd.DataFrame) -> pd.DataFrame:
        rest = old.drop(columns="ImageId", errors="ignore")
        rest.insert(0, called, list(names))
        return rest

    return table(file, named)


def images(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Damage:
    def written(folder: Path) -> None:
        write_competition(folder, train, labels, test, np.resize(labels, len(test)))
        shutil.rmtree(folder / "sealed")

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
    """A file that lies elsewhere."""

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


def exchanged(one: str, other: str) -> Damage:
    def swapped(folder: Path) -> None:
        first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
        (folder / one).write_bytes(second)
        (folder / other).write_bytes(first)

    return swapped


def noise(rows: int, pixels: int) -> np.ndarray:
    return np.random.default_rng(pixels).integers(0, 256, (rows, pixels)).astype(np.uint8)


def packed_inside(old: bytes) -> bytes:
    """A zip archive under the name of what it holds."""
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


# What has to follow where nothing is to be refused. The answers are labels that follow from the images alone, in the
# order of the sample: they tell whether images and ids still belong together.


def answers(folder: Path, dataset: Dataset, target: Path) -> dict[str, str]:
    chosen = dataset.test_images.reshape(len(dataset.test_ids), -1).sum(axis=1) % len(dataset.classes)
    write(np.eye(len(dataset.classes))[chosen], dataset, Sample(folder / SAMPLE), target)
    check(target, Sample(folder / SAMPLE), dataset.classes)
    return dict(text(target).itertuples(index=False, name=None))


def same(dataset: Dataset, good: Dataset) -> bool:
    """The same rows, under the same names."""
    fields = ("images", "labels", "classes", "train_ids", "test_ids", "test_images")
    return all(np.array_equal(getattr(dataset, field), getattr(good, field)) for field in fields)


def same_images(dataset: Dataset, good: Dataset) -> bool:
    """The same rows; classes or ids have other names."""
    return all(np.array_equal(getattr(dataset, field), getattr(good, field)) for field in ("images", "test_images"))


def brightness(row: int, pixel: int, wanted: int) -> Callable[[Dataset, Dataset], bool]:
    return lambda dataset, good: (
        dataset.images[row].ravel()[pixel] == wanted and np.array_equal(dataset.labels, good.labels)
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

REFUSED: dict[str, tuple[Damage, str]] = {
    "UTF-16": (everywhere(lambda old: old.decode().encode("utf-16")), r"train\.csv is not in UTF-8 .* iconv -f UTF-16"),
    "UTF-16 without a mark": (content(TEST, lambda old: old.decode().encode("utf-16-le")), r"test\.csv .* iconv"),
    "Latin-1": (
        together(value(TRAIN, 3, "label", "drei é"), content(TRAIN, lambda old: old.decode("utf-8").encode("latin-1"))),
        r"train\.csv is not in UTF-8; save it so, such as by: iconv -f WINDOWS-1252",
    ),
    "semicolons": (everywhere(lambda old: old.replace(b",", b";")), r"train\.csv is separated by semicolons"),
    "tabs": (
        content(TEST, lambda old: old.replace(b",", b"\t")),
        r"test\.csv is separated by tabs; save it with commas",
    ),
    "thousands separator in a pixel": (
        value(TRAIN, 3, "pixel5", "1,234"),
        r"row 4 \(line 5\), column pixel5: found 1,234",
    ),
    "thousands separator in a label": (
        value(TRAIN, 3, "label", "1,234"),
        r"row 4 \(line 5\), column label: found 1,234",
    ),
    "decimal comma": (value(TRAIN, 3, "pixel5", "17,0"), r"train\.csv: row 4 \(line 5\), column pixel5: found 17,0 "),
    "text": (value(TRAIN, 6, "pixel2", "abc"), r"train\.csv: row 7 \(line 8\), column pixel2: found abc where a whole"),
    "escape sequence": (value(TRAIN, 6, "pixel2", "\x1b[2J"), r"row 7 \(line 8\), column pixel2: found  \[2J"),
    "hexadecimal": (value(TRAIN, 6, "pixel2", "0x1F"), r"row 7 \(line 8\), column pixel2: found 0x1F"),
    "too bright": (value(TRAIN, 1, "pixel0", "256"), r"row 2 \(line 3\), column pixel0: found 256"),
    "far too bright": (value(TRAIN, 1, "pixel0", "1" + 30 * "0"), r"row 2 \(line 3\), column pixel0: found 1000"),
    "negative": (value(TRAIN, 1, "pixel0", "-1"), r"row 2 \(line 3\), column pixel0: found -1"),
    "fraction": (value(TRAIN, 1, "pixel0", "0.5"), r"row 2 \(line 3\), column pixel0: found 0\.5"),
    "True": (column(TEST, "pixel7", lambda old: "True"), r"test\.csv: row 1 \(line 2\), column pixel7: found True"),
    "missing": (value(TEST, 0, "pixel9", ""), r"test\.csv: row 1 \(line 2\), column pixel9: found nothing"),
    "NaN": (value(TEST, 0, "pixel9", "NaN"), r"test\.csv: row 1 \(line 2\), column pixel9: found NaN"),
    "infinite": (value(TEST, 0, "pixel9", "inf"), r"test\.csv: row 1 \(line 2\), column pixel9: found inf"),
    "missing label": (value(TRAIN, 9, "label", ""), r"row 10 \(line 11\), column label: found nothing where a label"),
    "NA for a label": (value(TRAIN, 9, "label", "NA"), r"row 10 \(line 11\), column label: found NA where a label"),
    "null for a label": (value(TRAIN, 9, "label", "null"), r"row 10 \(line 11\), column label: found null"),
    "a label in two spellings": (
        together(column(TRAIN, "label", lambda old: "0" + old), value(TRAIN, 13, "label", "3")),
        r"row 14 \(line 15\), column label: found 3 where 03, as rows before have it, belongs",
    ),
    "one class": (column(TRAIN, "label", lambda old: "3"), r"train\.csv: every label in column label is 3"),
    "one row": (lines(TRAIN, lambda old: old[:2]), r"train\.csv: every label in column label is 0"),
    "1x1": (images(noise(20, 1), np.arange(20) % 2, noise(5, 1)), r"train\.csv has 1 pixel columns; images of 2x2"),
    "no square": (
        together(*(table(file, lambda old: old.drop(columns="pixel63")) for file in (TRAIN, TEST))),
        r"train\.csv has 63 pixel columns, which make no square",
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
        r"test\.csv: column pixel\d+ stands where train\.csv has pixel0",
    ),
    "two pixels exchanged in train": (
        order(TRAIN, lambda names: [*names[:5], names[6], names[5], *names[7:]]),
        r"test\.csv: column pixel4 stands where train\.csv has pixel5",
    ),
    "pixels in the order of text": (
        together(order(TRAIN, lambda names: [names[0], *sorted(names[1:])]), order(TEST, sorted)),
        r"train\.csv and test\.csv: column pixel10 stands where pixel2 is due",
    ),
    "a 40,000th column called otherwise": (
        together(
            images(noise(3, 40_000), np.arange(3), noise(2, 40_000)),
            header(TEST, lambda old: old.replace("pixel39999", "last")),
        ),
        r"test\.csv lacks column pixel39999, which train\.csv has",
    ),
    "no header": (lines(TRAIN, lambda old: old[1:]), r"train\.csv begins with numbers; put a first line"),
    "no header in the sample": (lines(SAMPLE, lambda old: old[1:]), r"sample_submission\.csv begins with numbers"),
    "header twice": (
        lines(TRAIN, lambda old: [old[0], *old]),
        r"train\.csv: row 1 \(line 2\), column pixel0: found pixel0",
    ),
    "a column twice": (
        together(*(header(file, lambda old: old.replace("pixel6,", "pixel5,")) for file in (TRAIN, TEST))),
        r"train\.csv has 2 columns called pixel5",
    ),
    "label twice": (
        lines(TRAIN, lambda old: [f"{line},{line.split(',')[0]}" for line in old]),
        r"train\.csv has 2 columns called label",
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
    "cut in a row": (content(TRAIN, lambda old: old[:-100]), r"train\.csv: row 120 .* found nothing where a whole"),
    "zero bytes at the end": (content(TRAIN, lambda old: old[:-500] + bytes(500)), r"train\.csv: row 118 \(line 119\)"),
    "zero bytes alone": (content(TRAIN, lambda old: bytes(len(old))), r"train\.csv has bytes of zero"),
    "the end mark of DOS": (content(TRAIN, lambda old: old + b"\x1a"), r"train\.csv: row 121 .* found nothing"),
    "an open quote": (
        content(TRAIN, lambda old: old.replace(b"\n5,", b'\n"5,', 1)),
        r"train\.csv is not a CSV file: EOF inside string starting at row 6",
    ),
    "a quote that swallows rows": (
        content(TRAIN, lambda old: old.replace(b"\n5,", b'\n"5,', 2)),
        r"train\.csv: row 6 \(line 7\), column label: .*is a quote open",
    ),
    "an empty file": (content(TRAIN, lambda old: b""), r"train\.csv is empty"),
    "an empty sample": (content(SAMPLE, lambda old: MARK), r"sample_submission\.csv is empty"),
    "blank lines alone": (content(TEST, lambda old: b"\r\n\r\n"), r"test\.csv is empty"),
    "a header alone": (lines(TRAIN, lambda old: old[:1]), r"train\.csv has a header and no rows"),
    "a web page": (content(TRAIN, lambda old: PAGE.encode()), r"train\.csv is a page or message of a server"),
    "a web page for the sample": (content(SAMPLE, lambda old: PAGE.encode()), r"sample_submission\.csv is a page"),
    "a server's message": (
        content(TEST, lambda old: b'{"code":403,"message":"rules"}'),
        r"test\.csv is a page or message",
    ),
    "a pointer to the file": (
        content(TRAIN, lambda old: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        r"train\.csv lacks column pixel0",
    ),
    "a picture": (
        content(TEST, lambda old: b"\x89PNG\r\n\x1a\n" + bytes(64) + noise(64, 64).tobytes()),
        r"test\.csv has bytes",
    ),
    "gz under its content's name": (content(TRAIN, gzip.compress), r"is packed; .*: mv (\S+train\.csv) \1\.gz"),
    "zip under its content's name": (content(TRAIN, packed_inside), r"is packed; .*: mv (\S+train\.csv) \1\.zip"),
    "a damaged gz": (
        together(gzipped(TRAIN), content(f"{TRAIN}.gz", lambda old: old[:-40])),
        r"train\.csv\.gz cannot be unpacked: .*; bring it again",
    ),
    "a gz that is none": (
        together(gone(TRAIN), lambda folder: (folder / f"{TRAIN}.gz").write_text(PAGE) and None),
        r"train\.csv\.gz cannot be unpacked: Not a gzipped file",
    ),
    "a damaged zip": (
        together(zipped("all.zip", *FILES), content("all.zip", lambda old: old[:60] + b"\xff\xff\xff" + old[63:])),
        r"all\.zip cannot be unpacked: .*; bring it again",
    ),
    "a zip that is none": (
        together(gone(TRAIN), lambda folder: (folder / "all.zip").write_text(PAGE) and None),
        r"all\.zip cannot be unpacked: File is not a zip file",
    ),
    "a zip without the file": (zipped("train.csv.zip", TRAIN, inside="old-"), r"small lacks train\.csv; put it beside"),
    "no label": (
        lines(TRAIN, lambda old: [line.split(",", 1)[1] for line in old]),
        r"train\.csv has the same columns as test",
    ),
    "labels in test": (table(TEST, lambda old: old.assign(label="0")), r"train\.csv has the same columns as test\.csv"),
    "train and test exchanged": (exchanged(TRAIN, TEST), r"train\.csv lacks the label, .* are the two exchanged"),
    "test and sample exchanged": (
        exchanged(TEST, SAMPLE),
        r"csv has more columns than test\.csv; are the two exchanged",
    ),
    "the sample's columns exchanged": (
        order(SAMPLE, lambda names: names[::-1]),
        r"sample_submission\.csv: its first column",
    ),
    "a sample of one column": (
        table(SAMPLE, lambda old: old[["ImageId"]]),
        r"csv has 1 column; an id and a label",
    ),
    "a sample of three columns": (
        table(SAMPLE, lambda old: old.assign(more="0")),
        r"sample_submission\.csv has 2 columns beside the id, Label, more; one label was expected, or the 10 classes",
    ),
    "a short test": (lines(TEST, lambda old: old[:-5]), r"test\.csv has 15 rows and sample_submission\.csv 20; one of"),
    "a row of test twice": (
        lines(TEST, lambda old: [*old, old[-1]]),
        r"test\.csv has 21 rows and sample_submission\.csv 20",
    ),
    "a row of the sample twice": (
        lines(SAMPLE, lambda old: [*old[:-1], old[-2]]),
        r"sample_submission\.csv: row 20 \(line 21\), column ImageId: found 19 where an id that no row before has",
    ),
    "a missing id": (value(SAMPLE, 4, "ImageId", ""), r"sample_submission\.csv: row 5 .* found nothing where an id"),
    "an id twice in test": (
        ids(TEST, [*range(1, TEST_ROWS), 1]),
        r"test\.csv: row 20 \(line 21\), column ImageId: found 1 where an id that no row before has",
    ),
    "an id twice in train": (
        ids(TRAIN, [*range(1, TRAIN_ROWS), 1]),
        r"train\.csv: row 120 \(line 121\), column ImageId: found 1 where an id that no row before has",
    ),
    "an id that the sample lacks": (
        ids(TEST, [*range(1, TEST_ROWS), 999]),
        r"test\.csv: row 20 \(line 21\), column ImageId: found 999 where an id that sample_submission\.csv has",
    ),
    "float ids in the sample alone": (
        together(column(SAMPLE, "ImageId", lambda old: old + ".0"), ids(TEST, range(1, TEST_ROWS + 1))),
        r"test\.csv: row 1 \(line 2\), column ImageId: found 1 where an id that sample_submission\.csv has",
    ),
    "a sample turned round, no ids in test": (
        table(SAMPLE, lambda old: old[::-1]),
        r"sample_submission\.csv: row 2 \(line 3\), column ImageId: found 19 where an id above",
    ),
    "a sample in the order of text, no ids in test": (
        table(SAMPLE, text_order),
        r"sample_submission\.csv: row 12 \(line 13\), column ImageId: found 2 where an id above",
    ),
    "a missing file": (gone(SAMPLE), r"small lacks sample_submission\.csv; put it beside the other files"),
    "another spelling of a file": (
        lambda folder: (folder / TRAIN).rename(folder / "Train.csv") and None,
        r"lacks train\.csv",
    ),
    "a symlink to nowhere": (dangling(TRAIN), r"small lacks train\.csv"),
    "a folder for a file": (folder_instead(TRAIN), r"train\.csv is no file; move it away"),
    "a file in the place of the cache": (
        lambda folder: (folder / "cache").write_text("") and None,
        r"small/cache/\w+ cannot be written \(File exists\); move away what is no folder: mv .*small/cache ",
    ),
    "no folder": (
        shutil.rmtree,
        r"data/small has no competition: put train\.csv, test\.csv, sample_submission\.csv there",
    ),
    "a file for the folder": (
        together(shutil.rmtree, lambda folder: folder.write_text("") and None),
        r"data/small has no competition",
    ),
}

# Read as they are, but too little to train on.
TOO_FEW: dict[str, tuple[Damage, str, str]] = {
    "3 rows": (
        lines(TRAIN, lambda old: old[:4]),
        "5",
        r"class 0 has 1 different images, too few for FOLDS=5; add images",
    ),
    "a class with two members": (
        images(noise(22, 4), np.repeat([0, 1], [20, 2]), noise(5, 4)),
        "5",
        r"class 1 has 2 different images, too few for FOLDS=5; FOLDS=2 is the most",
    ),
    "two members and as many folds": (
        images(noise(22, 4), np.repeat([0, 1], [20, 2]), noise(5, 4)),
        "2",
        r"class 1 has 2 images, of which a fold leaves 1 to train on; knn needs 3: add images, or train networks",
    ),
    "copies of one image": (
        images(np.repeat(noise(2, 4), 10, axis=0), np.repeat([0, 1], 10), noise(5, 4)),
        "2",
        r"class 0 has 1 different images, too few for FOLDS=2",
    ),
    "1,000 classes": (
        images(noise(3000, 4), np.arange(3000) % 1000, noise(10, 4)),
        "2",
        r"class \d+ has 3 images, of which a fold leaves 1 to train on; knn needs 3",
    ),
    "labels that are measurements": (
        column(TRAIN, "label", lambda old: [f"{row / 8}" for row in range(len(old))]),
        "5",
        r"class 0\.0 has 1 different images, too few for FOLDS=5",
    ),
}

NO_NAMES = ("", ".", "..", "../digits", "data/small", "/tmp/small")

SPOILT_SUBMISSIONS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda old: b"", r"is empty"),
    "a web page": (lambda old: PAGE.encode(), r"is a page or message of a server"),
    "UTF-16": (lambda old: old.decode().encode("utf-16"), r"is not in UTF-8"),
    "packed": (gzip.compress, r"is packed"),
    "semicolons": (lambda old: old.replace(b",", b";"), r"is separated by semicolons"),
    "no header": (lambda old: old.split(b"\n", 1)[1], r"begins with numbers"),
    "another header": (
        lambda old: old.replace(b"Label", b"label"),
        r"has the header ImageId,label; .* asks for ImageId,Label",
    ),
    "an index in front": (lambda old: old.replace(b"\n", b"\n7,", 20), r"has rows with more values than its header"),
    "a row short": (lambda old: old[: old[:-1].rindex(b"\n") + 1], r"has 19 rows; .* has 20"),
    "a label that is none": (
        lambda old: old.replace(b"\n3,0", b"\n3,11"),
        r"row 3 \(line 4\), column Label: 11 is no class",
    ),
    "a float for a label": (
        lambda old: old.replace(b"\n3,0", b"\n3,0.0"),
        r"row 3 \(line 4\), column Label: 0\.0 is no",
    ),
    "no label": (lambda old: old.replace(b"\n3,0", b"\n3,"), r"row 3 \(line 4\), column Label: .* is no class"),
    "another id": (lambda old: old.replace(b"\n3,", b"\n03,"), r"row 3 \(line 4\), column ImageId: 03 stands where"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "data" / "small"
    small_competition(folder)
    return folder


@pytest.fixture(scope="module")
def good(small) -> Dataset:
    return load(small)


@pytest.fixture
def place(small, tmp_path, monkeypatch) -> Path:
    """The small competition's folder, the test's own, below the present folder."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)  # which the command line takes for itself
    yield Path(shutil.copytree(small, tmp_path / "data" / "small", ignore=shutil.ignore_patterns("cache")))
    signal.signal(signal.SIGTERM, before)


def everything(folder: Path) -> dict[Path, bytes]:
    """All files, hidden ones too, and their bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_leaves_no_doubt_is_read_right(name, place, small, good, tmp_path, capsys, record_property):
    damage, truth = HARMLESS[name]
    folder = damage(place) or place
    assert main(["data", "--competition", folder.name]) == 0, capsys.readouterr().err
    dataset = load(folder)
    assert truth(dataset, good)
    if np.array_equal(dataset.classes, good.classes):
        ours, wanted = (answers(*each, tmp_path / "submission.csv") for each in ((folder, dataset), (small, good)))
        assert ours == wanted or (ours.keys() != wanted.keys() and list(ours.values()) == list(wanted.values()))
    record_property("defective inputs", 1)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_in_doubt_is_refused_in_one_line_that_leads_to_it(name, place, tmp_path, capsys, record_property):
    damage, message = REFUSED[name]
    damage(place)
    before = everything(tmp_path)
    assert main(["data", "--competition", "small"]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", told) and re.search(message, told), told
    assert everything(tmp_path) == before, "something was written"
    record_property("defective inputs", 1)


def test_a_file_that_may_not_be_read_is_told(place, capsys):
    (place / TEST).chmod(0)
    if os.access(place / TEST, os.R_OK):
        pytest.skip("root may read all")
    assert main(["data", "--competition", "small"]) == 2
    assert (
        capsys.readouterr().err
        == "error: data/small/test.csv may not be read; allow it: chmod u+r data/small/test.csv\n"
    )


@pytest.mark.parametrize("name", TOO_FEW)
def test_what_is_too_little_to_train_on_is_told_before_the_training(name, place, tmp_path, capsys, record_property):
    damage, folds, message = TOO_FEW[name]
    damage(place)
    assert main(["cv", "--competition", "small", "--models", "knn", "--folds", folds, "--jobs", "1"]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", told) and re.search(message, told), told
    assert not list(tmp_path.glob("folds/**/*.npz")) and not (tmp_path / "submissions").exists()
    record_property("defective inputs", 1)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_competition_is_called_as_one_folder(name, place, tmp_path, capsys, record_property):
    before = everything(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "--competition", name])
    assert end.value.code == 2 and "is no name of a folder under data/" in capsys.readouterr().err
    assert everything(tmp_path) == before
    record_property("defective inputs", 1)


def test_a_name_may_be_completed_by_the_shell(place, capsys):
    assert main(["data", "--competition", "small/"]) == 0
    assert "data/small: 120 training" in capsys.readouterr().out


@pytest.mark.parametrize("name", SPOILT_SUBMISSIONS)
def test_a_spoilt_submission_opens_no_answers(name, place, tmp_path, capsys, record_property):
    spoil, message = SPOILT_SUBMISSIONS[name]
    sealed = place / "sealed" / "answers.csv"
    sealed.parent.mkdir()
    sealed.write_bytes((place / SAMPLE).read_bytes())
    submission = tmp_path / "my submission.csv"
    submission.write_bytes(spoil((place / SAMPLE).read_bytes()))
    assert main(["grade", "--competition", "small", "--file", str(submission)]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: .*my submission\.csv.*\n", told) and re.search(message, told), told
    assert [path.name for path in sealed.parent.iterdir()] == ["answers.csv"]
    record_property("defective inputs", 1)


def well_meant(folder: Path) -> Path:
    """What a download, a spreadsheet and a tidy person make of a good competition together."""
    everywhere(lambda old: MARK + quoted(old).replace(b"\n", b"\r\n"))(folder)
    together(linked(TRAIN), zipped("all of it.zip", TEST), gzipped(SAMPLE))(folder)
    return renamed("Ziffern für Äß 数字")(folder)


@pytest.mark.slow
def test_a_well_meant_competition_is_submitted_like_the_plain_one(command, own_competition, tmp_path, record_property):
    shutil.copytree(own_competition, own_competition.parent / "plain")
    folder = well_meant(own_competition)
    submitted = []
    for name in ("plain", folder.name):
        done = command("submit", "--competition", name, "--models", "knn", "--folds", "2")
        assert done.returncode == 0, done.stderr
        submitted.append((tmp_path / "submissions" / "submission.csv").read_bytes())
    assert submitted[0] == submitted[1]
    record_property("defective inputs", 1)


UNUSUAL_SIZES = {  # rows, pixels, classes, members
    "200x200": (12, 40_000, 2, ["knn"]),
    "2x2 and two classes": (40, 4, 2, ["knn", "svm"]),
    "1,000 classes": (6_000, 16, 1_000, ["knn"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNUSUAL_SIZES)
def test_unusual_sizes_are_submitted(name, command, own_competition, tmp_path, record_property):
    rows, pixels, classes, members = UNUSUAL_SIZES[name]
    images(noise(rows, pixels), np.arange(rows) % classes, noise(5, pixels))(own_competition)
    done = command("submit", "--competition", "digits8", "--folds", "2", "--models", *members)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "submissions" / "submission.csv")) == 5
    record_property("defective inputs", 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a web page", "shuffled pixels in test", "gz under its content's name"])
def test_a_run_that_is_refused_leaves_nothing(name, command, own_competition, tmp_path):
    REFUSED[name][0](own_competition)
    before = everything(tmp_path)
    done = command("submit", "--competition", "digits8", "--models", "knn", "--folds", "2")
    assert done.returncode == 2 and re.fullmatch(r"error: .*\n", done.stderr), done.stderr
    assert re.search(REFUSED[name][1], done.stderr) and everything(tmp_path) == before


def test_the_readme_tells_how_many_inputs_are_tried():
    tables = (HARMLESS, REFUSED, TOO_FEW, NO_NAMES, SPOILT_SUBMISSIONS, UNUSUAL_SIZES, [well_meant])
    assert f"{sum(map(len, tables))} defective inputs" in (ROOT / "README.md").read_text()
