"""Unpack a competition's archives as Kaggle packs them: zip, 7z, tar and gz, also archives within archives.

Only tables and images are unpacked. An archive that holds nothing but images, without a folder, is unpacked into a
folder of its name.
"""

import errno
import gzip
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO

from competition.data.inventory import SUFFIXES
from competition.data.progress_bar import show_progress
from competition.errors import UserError
from competition.files import sync_folder, sync_tree, temporary_folder

ARCHIVES = (".zip", ".7z", ".gz", ".tar", ".tgz")
TAR_FILES = (".tar", ".tgz")
WANTED = (".csv", *SUFFIXES, *ARCHIVES)
MAX_DEPTH = 4  # archives within archives
MAX_RATIO = 200  # unpacked to packed size; tables of pixels reach about 30
MIN_BOMB_BYTES = 2**30  # smaller contents may be compressed as well as they can
CHUNK_BYTES = 2**20
FREE_SHARE = 0.95  # of the free space that may be used


@dataclass(frozen=True)
class Entry:
    """A file in an archive."""

    name: str
    size: int  # unpacked

    @property
    def path(self) -> PurePosixPath:
        """Its path in the archive."""
        return PurePosixPath(self.name.replace("\\", "/"))

    @property
    def suffix(self) -> str:
        """Its extension in lower case."""
        return self.path.suffix.lower()


def find_archives(folder: Path) -> list[Path]:
    """The archives in the folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in ARCHIVES and path.is_file())


def unpack_archives(folder: Path) -> Counter[str]:
    """Unpack all archives in the folder; return how many files of each other format were left in them.

    Existing files are kept. Everything is unpacked into a temporary folder first, and tables are moved from there last,
    so that an interruption leaves no folder that looks complete.
    """
    ignored: Counter[str] = Counter()
    for archive in find_archives(folder):
        with temporary_folder(folder / "unpacking") as temporary:
            ignored += _unpack(archive, temporary, str(archive))
            sync_tree(temporary)
            _move_files(_content(temporary), folder)
    return ignored


def _content(folder: Path) -> Path:
    """The folder itself, or the only folder in it if that has the tables."""
    paths = list(folder.iterdir())
    return paths[0] if len(paths) == 1 and list(paths[0].glob("*.csv")) else folder


def _unpack(archive: Path, folder: Path, shown: str, depth: int = 1) -> Counter[str]:
    """Unpack the archive, and the archives in it, into the folder; return the number of ignored files by extension."""
    with _explain_errors(shown):
        entries = _list_entries(archive, shown)
        wanted = [entry for entry in entries if entry.suffix in WANTED and not _is_hidden(entry)]
        packed, free = archive.stat().st_size, shutil.disk_usage(folder).free
        _check_size(sum(entry.size for entry in wanted), packed, free, shown)
        target = folder / _own_folder(wanted, archive)
        if wanted:
            _extract(archive, wanted, target, shown)
    ignored = Counter(entry.suffix for entry in entries if entry.suffix not in WANTED)
    for entry in wanted:
        if entry.suffix in ARCHIVES:
            inner = target / entry.path
            if depth == MAX_DEPTH:
                raise UserError(
                    f"{shown}/{entry.name}: archives are nested more than {MAX_DEPTH} deep; unpack it by hand"
                )
            ignored += _unpack(inner, inner.parent, f"{shown}/{entry.name}", depth + 1)
            inner.unlink()
    return ignored


def _list_entries(archive: Path, shown: str) -> list[Entry]:
    """List the files in the archive, after checking that it can be unpacked safely."""
    if archive.suffix.lower() == ".gz":
        return [Entry(archive.stem, 0)]
    if archive.suffix.lower() == ".7z":
        if not find_spec("py7zr"):
            raise UserError(f"{shown} needs py7zr, which is not installed; unpack it elsewhere")
        import py7zr

        with py7zr.SevenZipFile(archive) as opened:
            is_encrypted = opened.needs_password()
            entries = [Entry(file.filename, file.uncompressed) for file in opened.list() if not file.is_directory]
    elif archive.suffix.lower() in TAR_FILES:
        with _open_tar(archive) as tar:
            is_encrypted = False
            entries = [Entry(file.name, file.size) for file in tar if file.isfile()]
    else:
        with zipfile.ZipFile(archive) as members:
            files = [member for member in members.infolist() if not member.is_dir()]
            is_encrypted = any(member.flag_bits & 1 for member in files)
            entries = [Entry(member.filename, member.file_size) for member in files]
    entries = [entry for entry in entries if entry.path.parts]
    if is_encrypted:
        raise UserError(f"{shown} is encrypted; unpack it by hand, with its password")
    for entry in entries:
        if entry.path.is_absolute() or ".." in entry.path.parts or ":" in entry.path.parts[0]:
            raise UserError(f"{shown} contains {entry.name!r}, which leads out of its folder; do not use this archive")
    return entries


def _check_size(size: int, packed: int, free: int, shown: str) -> None:
    """Raise UserError if the content would not fit on the disk or is suspiciously well compressed."""
    if size > MIN_BOMB_BYTES and size > MAX_RATIO * packed:
        raise UserError(
            f"{shown} would grow from {packed / 1e6:.1f} MB to {size / 1e9:.1f} GB, as a zip bomb does; "
            "unpack it by hand if you trust it"
        )
    if size > FREE_SHARE * free:
        raise UserError(
            f"{shown} needs {size / 1e9:.1f} GB unpacked, but its disk has only {free / 1e9:.1f} GB; free some space"
        )


def _own_folder(entries: Sequence[Entry], archive: Path) -> str:
    """The folder to unpack into: one of the archive's name if it holds nothing but images without a common folder."""
    is_in_folder = len({entry.path.parts[0] for entry in entries if len(entry.path.parts) > 1}) == 1
    has_root_files = any(len(entry.path.parts) == 1 for entry in entries)
    only_images = bool(entries) and all(entry.suffix in SUFFIXES for entry in entries)
    return archive.stem if only_images and (has_root_files or not is_in_folder) else ""


def _extract(archive: Path, entries: Sequence[Entry], target: Path, shown: str) -> None:
    """Extract these files, showing progress."""
    target.mkdir(parents=True, exist_ok=True)
    if archive.suffix.lower() == ".gz":
        _extract_gzip(archive, target / archive.stem, shown)
        return
    if archive.suffix.lower() == ".7z":
        import py7zr

        with py7zr.SevenZipFile(archive) as opened:
            opened.extract(path=target, targets=[entry.name for entry in entries])
        return
    with ExitStack() as stack:
        if archive.suffix.lower() in TAR_FILES:
            tar = stack.enter_context(_open_tar(archive))
            # `extractfile` would search the whole list for each name.
            members = {file.name: file for file in tar if file.isfile()}

            def open_entry(name: str) -> IO[bytes]:
                source = tar.extractfile(members[name])
                assert source  # None only for what is not a file
                return source
        else:
            open_entry = stack.enter_context(zipfile.ZipFile(archive)).open
        for entry in show_progress(entries, f"unpacking {shown}"):
            path = target / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_entry(entry.name) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)


def _open_tar(archive: Path) -> tarfile.TarFile:
    """Open a tar archive, compressed or not."""
    try:
        return tarfile.open(archive)
    except tarfile.ReadError:  # lists all formats that were tried
        raise tarfile.ReadError("it is not a tar archive, or incomplete") from None


def _extract_gzip(archive: Path, path: Path, shown: str) -> None:
    """Extract the file in a gzip archive; its size is not known before, so it is checked on the way."""
    size, packed, free = 0, archive.stat().st_size, shutil.disk_usage(path.parent).free
    with gzip.open(archive) as source, path.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            _check_size(size, packed, free, shown)
            file.write(chunk)


def _move_files(source: Path, target: Path) -> None:
    """Move files and folders into the target, tables last, also if power is lost; what exists there is kept."""
    tables = {path for path in source.iterdir() if path.suffix.lower() == ".csv"}
    for entries in (set(source.iterdir()) - tables, tables):
        for path in sorted(entries):
            destination = target / path.name
            if not destination.exists():
                path.rename(destination)
            elif path.is_dir() and destination.is_dir():
                _move_files(path, destination)
        sync_folder(target)


def _is_hidden(entry: Entry) -> bool:
    """Whether it is a file that a system adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in entry.path.parts)


@contextmanager
def _explain_errors(shown: str) -> Iterator[None]:
    """Turn the error of a damaged or incomplete archive, which can be almost any, into a UserError."""
    try:
        yield
    except UserError:
        raise
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise UserError(f"cannot unpack {shown}: {error.filename} is both a file and a folder in it") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"cannot unpack {shown}: it has a name that is too long for this file system") from None
        if error.errno not in (None, errno.EINVAL):  # of a position outside of the archive
            raise
        raise _damaged(shown, error) from None
    except Exception as error:
        raise _damaged(shown, error) from None


def _damaged(shown: str, error: Exception) -> UserError:
    """The error of a damaged archive, in one line."""
    reason = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
    return UserError(f"cannot unpack {shown}: {reason}; download it again")
