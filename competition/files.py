"""Atomic writes, folder locks and checksums."""

import errno
import hashlib
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

from competition.errors import DiskError, UserError

REMEDIES = {
    errno.ENOSPC: "free some space on the disk of {folder}: df -h {folder}",
    errno.EDQUOT: "free some space within your quota on the disk of {folder}: quota",
    errno.EROFS: "remount the disk of {folder} as writable: findmnt --target {folder}",
    errno.EACCES: "give yourself write permission: chmod -R u+rwX {folder}",
    errno.EEXIST: "move away the file in place of the folder: mv {folder} {folder}.old",
    errno.ENOTDIR: "move away the file in place of the folder: ls -ld {folder}",
    errno.EPERM: "give yourself write permission: chmod -R u+rwX {folder}",
}
DEFAULT_REMEDY = "check the disk of {folder}: df -h {folder}; ls -ld {folder}"
DISK_FAILURES = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE}  # whatever the program does
MISPLACED = {errno.EEXIST, errno.ENOTDIR}  # a file where a folder is needed
UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP}  # by file systems that cannot sync folders
CHECKSUMS = "SHA256SUMS"  # the file that `write_checksums` writes
SCRATCH = "foldblend"  # in the names of folders among the system's temporary files
MAX_SYNCED_FILES = 1000  # that are synced one by one; syncing everything is faster for more


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; the finished file replaces `path`, and survives a loss of power."""
    with explain_write_errors(path):
        temporary = _temporary_path(path)
        try:
            yield temporary
            replace_file(temporary, path)
        except BaseException:
            _remove(temporary)
            raise


def replace_file(source: Path, target: Path) -> None:
    """Rename a finished file in the same folder to `target`; content and name survive a loss of power."""
    _sync(source)
    source.replace(target)
    sync_folder(target.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that readers see the old file or the new one, never a part."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, which is removed in the end, by a later run if this one is killed."""
    with explain_write_errors(path):
        temporary = _temporary_path(path)
        temporary.mkdir()
        try:
            yield temporary
        finally:
            _remove(temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, then rename it to `path`, unless another process has created `path` first.

    The folder and everything in it survive a loss of power.
    """
    with temporary_folder(path) as temporary:
        yield temporary
        sync_tree(temporary)
        try:
            temporary.rename(path)
        except OSError:
            if not path.exists():
                raise
        sync_folder(path.parent)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a private folder among the system's temporary files, which is removed in the end or by a later run."""
    try:
        system_folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise DiskError(f"{error.strerror}; free some space there, or set TMPDIR to a folder that has some") from None
    with explain_write_errors(system_folder / SCRATCH):
        folder = _temporary_path(system_folder / SCRATCH)
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _remove(folder)


def reserve_space(path: Path) -> None:
    """Reserve the disk space of a file that is mapped into memory, where a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        with explain_write_errors(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def make_folder(folder: Path) -> None:
    """Create the folder and its missing parents; their names survive a loss of power."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            path.mkdir(exist_ok=True)  # fails if there is a file in its place
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in the folder are on the disk; Windows cannot do this."""
    if os.name != "nt":
        with suppress(PermissionError):  # a folder that may be written, but not listed
            _sync(folder)


def sync_tree(folder: Path) -> None:
    """Wait until the folder's files and the folders in it are on the disk."""
    paths = list(folder.rglob("*"))
    if len(paths) > MAX_SYNCED_FILES and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        if path.is_file():
            _sync(path)
    for path in [folder, *paths]:
        if path.is_dir():
            sync_folder(path)


def remove_stale_files(folder: Path) -> None:
    """Remove temporary files and folders in the folder, and below, whose processes were killed."""
    for parent, folders, files in os.walk(folder):
        _remove_stale(Path(parent, name) for name in [*folders, *files])


def remove_stale_scratch_folders() -> None:
    """Remove the scratch folders of killed processes, and those that could not be removed."""
    with suppress(OSError):  # not every command needs a folder for temporary files
        _remove_stale(Path(tempfile.gettempdir()).glob(f".{SCRATCH}.*"))


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a UserError that names the remedy."""
    try:
        yield
    except OSError as error:
        # On a full disk NumPy sets no errno; its message is, for example, "4000 requested and 1024 written".
        if error.errno is None and str(error).endswith(" written"):
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if error.errno is None or isinstance(error, ConnectionError):
            raise
        raise describe_file_error(error, path) from None


def is_file_error(error: OSError) -> bool:
    """Whether the system failed to read or write a file, rather than a connection."""
    return error.errno in DISK_FAILURES or (error.errno is not None and error.filename is not None)


def describe_file_error(error: OSError, path: Path | None = None) -> UserError:
    """The error for the user: file, reason and remedy; `path` was being written, if it is known."""
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    is_target = path is not None and (named is None or _belongs_to(named, path))
    path, verb = (path, "write") if is_target else (named, "read or write")
    reason, again = error.strerror or error, "then run the same command again to continue"
    if path is None:
        return DiskError(f"cannot {verb} a file ({reason}); check the disk: df -h; {again}")
    folder = named if named and error.errno == errno.EEXIST else path.parent
    remedy = REMEDIES.get(error.errno or 0, DEFAULT_REMEDY).format(folder=shlex.quote(str(folder)))
    error_type = UserError if error.errno in MISPLACED else DiskError
    return error_type(f"cannot {verb} {path} ({reason}); {remedy}; {again}")


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock the folder for this process, or fail if it is locked; the system releases the lock when the process ends."""
    holder = folder / ".lock-holder"  # its process id; a lock file itself is emptied by whoever tries to lock it
    try:
        with _lock(folder, timeout=0):
            write_atomically(holder, str(os.getpid()).encode())
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        process = ""
        with suppress(FileNotFoundError):  # the other run may be ending
            process = holder.read_text()
        remedy = f", or stop process {process}: kill {process}" if process else ""
        raise UserError(f"{folder} is in use by another run; wait until it ends{remedy}") from None


@contextmanager
def wait_for_lock(folder: Path) -> Iterator[None]:
    """Wait for the folder's lock and hold it; for short updates that read, change and write a file."""
    with _lock(folder, timeout=-1):
        yield


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of these files of the folder to a file next to them."""
    (folder / CHECKSUMS).write_text(_checksums(folder, names))


def find_damage(folder: Path, names: Iterable[str]) -> str | None:
    """Describe what is wrong with these files, or None; reads all of them to compare their checksums."""
    try:
        expected = (folder / CHECKSUMS).read_text().splitlines()
        actual = _checksums(folder, names).splitlines()
    except (OSError, ValueError) as error:
        return f"{folder} is damaged ({error})"
    damaged = next((line.split()[1] for line in actual if line not in expected), None)
    return f"{folder / damaged} is damaged" if damaged else None


def _checksums(folder: Path, names: Iterable[str]) -> str:
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _lock(folder: Path, timeout: float) -> Iterator[None]:
    """Hold the folder's lock; `Timeout` if another process holds it for longer."""
    path = folder / ".lock"
    lock = FileLock(path, timeout=timeout)
    with explain_write_errors(path):
        make_folder(folder)
        lock.acquire()
    try:
        yield
    finally:
        with explain_write_errors(path):
            lock.release()


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a temporary file or folder; what cannot be removed now is removed by a later run."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_stale(paths: Iterable[Path]) -> None:
    """Remove the temporary files and folders whose processes have ended."""
    for path in paths:
        if _is_stale(path):
            _remove(path)


def _temporary_path(path: Path) -> Path:
    """A path for a temporary file of this process; those that killed processes left in the folder are removed."""
    make_folder(path.parent)
    _remove_stale(path.parent.iterdir())
    return path.parent / f".{path.name}.{platform.node()}~{os.getpid()}~{token_hex(8)}{path.suffix}"


def _belongs_to(file: Path, path: Path) -> bool:
    """Whether the file is `path`, one of its parents, its temporary file, or in its temporary folder."""
    return file in (path, *path.parents) or any(part.startswith(f".{path.name}.") for part in file.parts)


def _is_stale(temporary: Path) -> bool:
    """Whether the process of this machine that wrote the temporary file has ended."""
    node, process = temporary.name.split("~")[-3:-1] if temporary.name.count("~") >= 2 else ("", "")
    if not node.endswith(f".{platform.node()}") or not process.isdecimal():
        return False
    return _has_ended(int(process))


def _has_ended(process: int) -> bool:
    """Whether the process has ended; without psutil, one whose parent does not wait for it seems to be running."""
    try:
        import psutil
    except ModuleNotFoundError:
        return Path("/proc/self").exists() and not Path(f"/proc/{process}").exists()
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    return True
