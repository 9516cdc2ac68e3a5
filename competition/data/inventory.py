"""What a competition's folder contains: tables, images and files that cannot be read."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of images
FILES = ("train.csv", "test.csv", "sample_submission.csv")
IGNORED_FOLDERS = ("cache", "held_back", "__MACOSX")
PART = re.compile(r"(?:^|[^a-z])(train|test)", re.IGNORECASE)
SAMPLE_NAME = re.compile(r"submission|^sample$", re.IGNORECASE)


@dataclass(frozen=True)
class Inventory:
    """The files in a competition's folder, by their paths relative to it."""

    folder: Path
    tables: tuple[Path, ...]  # CSV files, the outermost first
    images: dict[str, int]  # sizes of image files in bytes
    others: Counter[str]  # number of other files by extension

    @property
    def sample(self) -> Path | None:
        """The sample submission; of several submissions, the one that is called a sample."""
        found = [path for path in self.tables if SAMPLE_NAME.search(path.stem)]
        return min(found, key=lambda path: "sample" not in path.stem.lower(), default=None)

    def table(self, part: str) -> Path | None:
        """The table of the training or the test rows, by its name: `train.csv`, or one that contains `train`."""
        others = [path for path in self.tables if path != self.sample]
        exact = [path for path in others if path.name == f"{part}.csv"]
        return next((path for path in exact or others if is_named(path, part)), None)


def find_parts(name: str) -> list[str]:
    """Which of `train` and `test` begin a word of the name, in order of appearance."""
    return [part.lower() for part in PART.findall(name)]


def is_named(path: Path, part: str) -> bool:
    """Whether a word of the file's name begins with the part: train or test."""
    return part in find_parts(path.stem)


def list_files(folder: Path) -> Inventory:
    """List the files in the folder and its subfolders."""
    tables, images, others = [], {}, Counter[str]()
    for path, size in _walk(folder, folder):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".csv":
            tables.append(folder / path)
        elif suffix in SUFFIXES:
            images[path] = size
        else:
            others[suffix] += 1
    tables.sort(key=lambda path: (len(path.parts), path))
    return Inventory(folder, tuple(tables), images, others)


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, int]]:
    """Yield the relative path and the size of each file, in alphabetical order."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or (entry.name in IGNORED_FOLDERS and folder == root):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), root)
            elif entry.is_file():  # not a broken link
                yield Path(entry.path).relative_to(root).as_posix(), entry.stat().st_size
