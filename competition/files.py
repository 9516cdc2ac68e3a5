"""Atomic writes, folder locks and checksums."""

import errno
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

from competition.errors import UserError

REMEDIES = {
    errno.ENOSPC: "free some space on the disk of {folder}: df -h {folder}",
    errno.EDQUOT: "free some space within your quota on the disk of {folder}: quota",
    errno.EROFS: "remount the disk of {folder} as writable: findmnt --target {folder}",
    errno.EACCES: "give yourself write permission: chmod -R u+rwX {folder}",
    errno.EEXIST: "move away the file in place of the folder: mv {folder} {folder}.old",
    errno.ENOTDIR: "move away the file in place of the folder: ls -ld {folder}",
    errno.EPERM: "give yourself write permission: chmod -R u+rwX {folder}",
}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; the finished and synced file replaces `path`."""
    with explain_write_errors(path):
        temporary = _temporary_path(path)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, which is removed in the end, by a later run if this one is killed."""
    with explain_write_errors(path):
        temporary = _temporary_path(path)
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, then rename it to `path`, unless another process has created `path` first."""
    with temporary_folder(path) as temporary:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.exists():
                raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that readers see the old file or the new one, never a part."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a UserError that names the remedy."""
    try:
        yield
    except OSError as error:
        # On a full disk NumPy sets no errno; its message is, for example, "4000 requested and 1024 written".
        is_disk_full = error.errno is None and str(error).endswith(" written")
        remedy = REMEDIES.get(errno.ENOSPC if is_disk_full else error.errno or 0)
        if not remedy:
            raise
        raise UserError(
            f"cannot write {path} ({error.strerror or error}); {remedy.format(folder=path.parent)}; "
            "then run the same command again to continue"
        ) from None


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
        process = holder.read_text() if holder.exists() else ""
        remedy = f", or stop process {process}: kill {process}" if process else ""
        raise UserError(f"{folder} is in use by another run; wait until it ends{remedy}") from None


@contextmanager
def wait_for_lock(folder: Path) -> Iterator[None]:
    """Wait for the folder's lock and hold it; for short updates that read, change and write a file."""
    with _lock(folder, timeout=-1):
        yield


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
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _temporary_path(path: Path) -> Path:
    """A path for a temporary file of this process; those of writers that were killed are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in path.parent.iterdir():
        if file.name.startswith(f".{path.name}.") and _is_stale(file):
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    return path.parent / f".{path.name}.{platform.node()}~{os.getpid()}~{token_hex(8)}{path.suffix}"


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
