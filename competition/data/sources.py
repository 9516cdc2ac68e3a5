"""Download, generate or unpack a competition's files.

A competition is a folder with `train.csv`, `test.csv` and `sample_submission.csv`; you can put them there yourself.
The practice competitions `digits`, `digits8` and `mnist` are made here; their held-back test labels are read only by
`competition.submission.grading`. Any other competition is downloaded from Kaggle under its name there.
"""

import gzip
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from competition.data import kaggle
from competition.data.practice import is_practice, make_digits, make_digits8, make_mnist
from competition.errors import UserError, option
from competition.files import atomic_file, atomic_folder

FILES = ("train.csv", "test.csv", "sample_submission.csv")
IMAGE_FOLDERS = ("train", "test")  # where the images are files
KAGGLE_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"


def has_image_folders(folder: Path) -> bool:
    """Whether the competition's images are files."""
    return all((folder / name).is_dir() for name in IMAGE_FOLDERS)


def required_files(folder: Path) -> tuple[str, ...]:
    """The CSV files that the competition needs."""
    return (FILES[0], FILES[2]) if has_image_folders(folder) else FILES


def ensure_files(name: str, folder: Path) -> None:
    """Make sure that `folder` contains the competition's files; existing files are never changed.

    Missing files are first looked for in downloads: `train.csv.gz`, `train.csv.zip` or an archive of the whole
    competition, with or without image folders.
    """
    if not all((folder / file).exists() for file in required_files(folder)):
        _extract_image_folders(folder)
    files = required_files(folder)
    for file in files:
        if not (folder / file).exists():
            _extract_file(folder, file)
    missing = [file for file in files if not (folder / file).exists()]
    if not missing:
        return
    if len(missing) < len(files) and not is_practice(folder):
        raise UserError(f"{folder} is missing {', '.join(missing)}; add {'it' if len(missing) == 1 else 'them'}")
    if name in KNOWN_COMPETITIONS:
        KNOWN_COMPETITIONS[name](folder)
    else:
        _download_competition(name, folder)
        ensure_files(name, folder)


def _download_competition(name: str, folder: Path) -> None:
    """Download the archive of a competition on Kaggle; it is unpacked by the caller."""
    archive, remedy = folder / f"{name}.zip", f"put {', '.join(FILES)} there"
    if archive.exists():
        raise UserError(f"{archive} lacks {', '.join(required_files(folder))}; {remedy}")
    practice = f"set {option('competition')} to one of {', '.join(KNOWN_COMPETITIONS)}, which are practice"
    if not re.fullmatch(KAGGLE_NAME, name):
        raise UserError(f"{folder} contains no competition files; {remedy}, or {practice}")
    try:
        kaggle.download_competition(name, folder)
    except UserError as error:
        problem = f"{folder} contains no competition files, and they could not be downloaded"
        raise UserError(f"{problem}: {error}; or {remedy}; or {practice}") from None


def _extract_file(folder: Path, file: str) -> None:
    """Extract the file from FILE.gz, or from a zip archive that contains it in any folder."""
    for archive in sorted(folder.glob("*.zip")):
        with _open_zip(archive) as members:
            if name := next((name for name in members.namelist() if PurePosixPath(name).name == file), None):
                with atomic_file(folder / file) as target:
                    _copy(members.open(name), target)
                return
    compressed = folder / f"{file}.gz"
    if compressed.exists():
        with (
            _explain_archive_errors(compressed),
            gzip.open(compressed) as source,
            atomic_file(folder / file) as target,
        ):
            _copy(source, target)


def _extract_image_folders(folder: Path) -> None:
    """Extract both image folders, if archives contain them: one archive with both, or train.zip and test.zip.

    These two may themselves be inside another archive.
    """
    if has_image_folders(folder):
        return
    for archive_name in (f"{name}.zip" for name in IMAGE_FOLDERS):
        if not (folder / archive_name).exists():
            _extract_file(folder, archive_name)
    sources: dict[str, tuple[Path, list[tuple[zipfile.ZipInfo, PurePosixPath]]]] = {}
    for archive in sorted(folder.glob("*.zip")):
        with _open_zip(archive) as members:
            for name in IMAGE_FOLDERS:
                files = list(_files_below(name, members))
                if not files and archive.stem == name:
                    files = list(_image_files(members))
                if files:
                    sources.setdefault(name, (archive, files))
    if len(sources) == len(IMAGE_FOLDERS):
        for name, (archive, files) in sources.items():
            with _open_zip(archive) as members, atomic_folder(folder / name) as target:
                for member, path in files:
                    (target / path).parent.mkdir(parents=True, exist_ok=True)
                    _copy(members.open(member), target / path)


def _copy(source: IO[bytes] | gzip.GzipFile, target: Path) -> None:
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def _image_files(members: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Yield the archive's files except CSV files, with their paths in the archive."""
    for member in members.infolist():
        path = PurePosixPath(member.filename)
        if path.suffix.lower() not in (".csv", "") and ".." not in path.parts and not path.is_absolute():
            yield member, path


def _files_below(name: str, members: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Yield the files in the innermost folder of this name, with their paths relative to it."""
    for member in members.infolist():
        parts = PurePosixPath(member.filename).parts
        if name in parts[:-1] and ".." not in parts and not member.is_dir():
            innermost = max(index for index, part in enumerate(parts[:-1]) if part == name)
            yield member, PurePosixPath(*parts[innermost + 1 :])


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    with _explain_archive_errors(archive), zipfile.ZipFile(archive) as members:
        yield members


@contextmanager
def _explain_archive_errors(archive: Path) -> Iterator[None]:
    """Turn the error of a damaged, encrypted or incomplete archive into a UserError."""
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, KeyError) as error:
        raise UserError(f"cannot unpack {archive}: {error.args[0]}; download it again") from None


# Practice competitions; all others are downloaded from Kaggle.
KNOWN_COMPETITIONS: dict[str, Callable[[Path], None]] = {
    "digits": make_digits,
    "digits8": make_digits8,
    "mnist": make_mnist,
}
