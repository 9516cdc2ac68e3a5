"""Files with random changes are read, or refused in one line; nothing is written elsewhere and memory is bounded."""

import gzip
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import seven_zip_folder, zip_files
from PIL import Image

from competition.crossval.exchange import read_predictions
from competition.crossval.folds import make_folds
from competition.crossval.predictions import FoldPredictions, read_fold, read_metadata, write_fold
from competition.data.archives import unpack_archives
from competition.data.config import CONFIG_FILE, read_config
from competition.data.csv_files import read_header, read_numbers, read_text
from competition.data.dataset import load_dataset
from competition.data.images import open_image
from competition.errors import UserError
from competition.submission.log import SubmissionLog, _digest

MEMORY = 2**30  # bytes that reading a small file may take
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3000"))  # of each parser in the slow test

TOKENS = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc2\xa0", b"\xd9\xa1", b"\n", b"\r", b'"', b"'", b",", b";", b"#",
    b" ", b"\t", b"-", b"=", b".", b"0", b"1.5", b"1e999", b"0x1", b"1_0", b"9" * 25, b"9" * 5000, b"NaN", b"inf",
    b"null", b"true", b"[", b"]", b"{", b"}", b"[" * 3000, b"a" * 300, b"../", b"/", b"\xff" * 4, b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few bytes changed, removed, repeated or replaced by something unusual."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 16, 2**20]))
        part = bytes(changed[start : start + length])
        other = st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=4) | st.just(part + part) | st.just(part[::-1])
        changed[start : start + length] = draw(other)
    return bytes(changed)


@dataclass(frozen=True)
class Parser:
    """A function that reads a folder in which one of these files is damaged, and its own error."""

    read: Callable[[Path], object]
    files: dict[str, bytes]
    damaged: tuple[str, ...] = ()  # by default all of them
    error: type[Exception] = UserError


def csv(header: str, *rows: object) -> bytes:
    return "\n".join([header, *map(str, rows), ""]).encode()


TABLE = csv("id,fold,a,b", "1,0,0.25,0.75", '2,1,"0.5",0.5', "3,0,1,0")


def read_csv_file(folder: Path) -> None:
    path = folder / "t.csv"
    read_header(path)
    list(read_numbers(path, {"fold", "a"}))
    read_text(path, comment="#")
    read_text(path)


PIXELS = ",".join(f"pixel{number}" for number in range(4))
PIXEL_TABLES = {
    "train.csv": csv(f"label,{PIXELS}", *(f"{row % 2},{row},2,3,255" for row in range(12))),
    "test.csv": csv(PIXELS, "0,1,2,3", "4,5,6,7"),
    "sample_submission.csv": csv("ImageId,Label", "1,0", "2,0"),
    CONFIG_FILE: b'label = "label"\nsize = 96\nsymmetries = []\nlimits = {rotation = 0}\npublic = 0.3\nextra = []\n',
}
GROUPED_TABLES = PIXEL_TABLES | {
    "train.csv": csv(f"label,patient,{PIXELS}", *(f"{row % 2},p{row // 3},{row},2,3,255" for row in range(24))),
    CONFIG_FILE: b'metric = "accuracy"\n',
}


def encode_image(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


IMAGES = {
    "a.png": encode_image("PNG"),
    "b.png": encode_image("PNG", "P", transparency=b"\x00\x80"),
    "c.png": encode_image("PNG", "LA"),
    "a.jpg": encode_image("JPEG"),
    "b.jpg": encode_image("JPEG", "CMYK"),
    "a.gif": encode_image("GIF", "P", transparency=3),
    "a.bmp": encode_image("BMP"),
    "a.tif": encode_image("TIFF"),
    "b.tif": encode_image("TIFF", compression="tiff_lzw"),
    "a.webp": encode_image("WEBP"),
    "c.tif": encode_image("TIFF", "1", compression="group4"),
}


def read_image_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        open_image(path, 8).convert("RGB")
        open_image(path)


LABELLED_IMAGES = {
    **{f"pictures/s{row}.png": IMAGES["a.png"] for row in range(8)},
    "marks.csv": csv("scan,patient,age,sign", *(f"s{row},p{row // 2},{30 + row},{'xy'[row % 2]}" for row in range(6))),
    "sampleSubmission.csv": csv("scan,x,y", "s6,0.5,0.5", "s7,0.5,0.5"),
}


def fold_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fold-0.npz"
        write_fold(path, FoldPredictions(np.eye(3), np.eye(2, 3), {"data": "x", "split": "y"}))
        return path.read_bytes()


RUN = {"competition": "tiny", "split": "3-folds-seed-0", "members": {"knn": "f"}}
METADATA = {
    "number": 1, "when": "2026-01-01T00:00:00+00:00", "members": {"knn": 1.0}, "blender": "mean", "metric": "accuracy",
    "score": [0.5, 0.1], "rows": 12, "sha256": "0" * 64, "run": RUN, "git": {"commit": "abc", "edited": False},
}  # fmt: skip
LOG_ROW = f"tiny,1,001-knn,2026-01-01T00:00:00+00:00,knn,mean,accuracy,0.500000,0.100000,,0.25,{'0' * 64}"
LOG = csv(
    "competition,number,name,when,members,blender,metric,cv,cv_standard_error,held_back,leaderboard,sha256",
    LOG_ROW,
    LOG_ROW.replace(",1,001", ",2,002"),
)


def read_submission_log(folder: Path) -> None:
    log = SubmissionLog(folder)
    log.read()
    log.recorded_score("tiny", "0" * 64, "accuracy", "leaderboard")
    for entry in log.entries("tiny"):
        entry.as_row()
        _ = entry.restore_remedy


def read_record(folder: Path) -> None:
    seconds, curve = read_metadata(folder / "fold-0.npz")
    assert np.isfinite(seconds) and all(np.isfinite(point.loss) for point in curve)


POINT = {
    "epoch": 1, "epochs": 2, "loss": 0.5, "images_per_second": 10.0, "memory": 5, "train_accuracy": 0.5,
    "train_log_loss": 0.5, "held_out_accuracy": None, "held_out_log_loss": 0.5,
}  # fmt: skip


def metadata_file() -> bytes:
    return json.dumps(METADATA | {"run_digest": _digest(RUN)}, indent=1).encode()


def array_file(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ARCHIVED = {"train.csv": TABLE, "train/1.png": IMAGES["a.png"], "inner.zip": zip_files({"2.png": IMAGES["a.png"]})}

PARSERS = {
    "CSV file": Parser(read_csv_file, {"t.csv": TABLE}),
    "tables of pixels": Parser(load_dataset, PIXEL_TABLES, tuple(PIXEL_TABLES)[:3]),
    "tables with groups": Parser(load_dataset, GROUPED_TABLES, ("train.csv",)),
    "tables of labels": Parser(load_dataset, LABELLED_IMAGES, ("marks.csv", "sampleSubmission.csv")),
    "configuration": Parser(read_config, {CONFIG_FILE: PIXEL_TABLES[CONFIG_FILE]}),
    "pictures": Parser(read_image_files, IMAGES),
    "zip": Parser(unpack_archives, {"all.zip": zip_files(ARCHIVED)}),
    "7z": Parser(unpack_archives, {"train.7z": seven_zip_folder("train", {"1.png": IMAGES["a.png"]})}),
    "gz": Parser(unpack_archives, {"train.csv.gz": gzip.compress(TABLE, mtime=0)}),
    "fold": Parser(lambda folder: read_fold(folder / "fold-0.npz"), {"fold-0.npz": fold_file()}, error=ValueError),
    "record of a fold": Parser(
        read_record, {"fold-0.json": json.dumps({"seconds": 1.5, "remark": "", "curve": [POINT, POINT]}).encode()}
    ),
    "submission log": Parser(
        read_submission_log, {"log.csv": LOG, "tiny/001-knn/metadata.json": metadata_file()}, ("log.csv",)
    ),
    "metadata": Parser(
        read_submission_log, {"tiny/001-knn/metadata.json": metadata_file(), "tiny/001-knn/submission.csv": b""},
        ("tiny/001-knn/metadata.json",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def parsers(tmp_path_factory) -> dict[str, Parser]:
    """All parsers, including those that need a data set or PyTorch's classes."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    folder.mkdir()
    for name, content in PIXEL_TABLES.items():
        (folder / name).write_bytes(content)
    dataset = load_dataset(folder)
    split = make_folds(dataset, 2, 0)
    rows = [f"{row},{fold},0.25,0.75" for row, fold in zip(dataset.train_ids, split.held_out, strict=True)]
    files = {"oof.csv": csv("id,fold,0,1", *rows), "test.csv": csv("id,0,1", "1,0.5,0.5", "2,1,0")}

    def read_tables(folder: Path) -> None:
        list(read_predictions(folder / "oof.csv", folder / "test.csv", None, dataset, split))

    def read_arrays(folder: Path) -> None:
        split_file = folder / "split.csv"
        list(read_predictions(folder / "oof.npy", folder / "test.npy", split_file, dataset, split))

    held_out = csv("id,fold", *(f"{row},{fold}" for row, fold in zip(dataset.train_ids, split.held_out, strict=True)))
    arrays = {
        "oof.npy": array_file(np.full((12, 2), 0.5)),
        "test.npy": array_file(np.full((2, 2), 0.5, np.float32)),
        "split.csv": b"# split x of data y\n" + held_out,
    }
    return PARSERS | {"imported tables": Parser(read_tables, files), "imported arrays": Parser(read_arrays, arrays)}


def try_parser(parser: Parser, name: str, content: bytes, folder: Path) -> None:
    """Read the files, of which one is replaced, in a folder of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    inner = folder / "in"
    for file, original in parser.files.items():
        path = inner / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if file == name else original)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow
            parser.read(inner)
    except parser.error as error:
        assert parser.error is not UserError or (len(str(error).splitlines()) == 1 and len(str(error)) < 20_000), error
    assert [path.name for path in folder.iterdir()] == ["in"], "a file outside of the folder"


def fuzz(parser: Parser, folder: Path, examples: int) -> None:
    """Read so many damaged versions of each file."""

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(parser.damaged or tuple(parser.files)))
        try_parser(parser, name, data.draw(mutations(parser.files[name])), folder)

    check()


NAMES = (*PARSERS, "imported tables", "imported arrays")


@pytest.mark.parametrize("name", NAMES)
def test_undamaged_files_are_read(name, parsers, tmp_path):
    parser = parsers[name]
    file = next(iter(parser.files))
    try_parser(Parser(parser.read, parser.files, error=KeyboardInterrupt), file, parser.files[file], tmp_path / "f")


@pytest.mark.parametrize("name", NAMES)
def test_files_with_a_few_changes_are_read_or_refused(name, parsers, tmp_path):
    fuzz(parsers[name], tmp_path / "f", 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_files_with_many_changes_are_read_or_refused_in_bounded_memory(name, parsers, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while other threads run, which are not needed
        process = os.fork()
    if not process:
        status = 1
        try:
            limit = psutil.Process().memory_info().vms + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            fuzz(parsers[name], tmp_path / "f", EXAMPLES)
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    assert os.waitpid(process, 0)[1] == 0
