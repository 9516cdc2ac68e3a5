"""Atomic writes, folder locks and checksums."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TextIO

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
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_files(path)
        temporary = path.parent / f".{path.name}.{token_hex(8)}{path.suffix}"
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, then rename it to `path`, unless another process has created `path` first."""
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_files(path)
        temporary = path.parent / f".{path.name}.{token_hex(8)}"
        temporary.mkdir()
        handle = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield temporary
            try:
                temporary.rename(path)
            except OSError:
                if not path.exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)


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
    with _open_lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()  # empty if the other run has just started
            process, stop = (f", process {holder}", f", or stop it: kill {holder}") if holder else ("", "")
            raise UserError(f"{folder} is in use by another run{process}; wait until it ends{stop}") from None
        with explain_write_errors(Path(lock.name)):
            lock.truncate(0)
            os.write(lock.fileno(), b"%d" % os.getpid())  # unbuffered: a buffer would be flushed again on a full disk
        yield


@contextmanager
def wait_for_lock(folder: Path) -> Iterator[None]:
    """Wait for the folder's lock and hold it; for short updates that read, change and write a file."""
    with _open_lock(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_lock(folder: Path) -> TextIO:
    """Open the lock file of a folder, which is created if necessary."""
    path = folder / ".lock"
    with explain_write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        return path.open("a+")


def _remove_stale_files(path: Path) -> None:
    """Remove temporary files of killed writers of `path`; a running writer holds a lock on its own."""
    for stale in [file for file in path.parent.iterdir() if file.name.startswith(f".{path.name}.")]:
        with suppress(OSError):
            handle = os.open(stale, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
            finally:
                os.close(handle)
