"""Files that are either whole or not there."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from competition.errors import Problem

REMEDIES = {
    errno.ENOSPC: "make room on the disk of {folder}: df -h {folder}",
    errno.EDQUOT: "make room within your quota on the disk of {folder}: quota",
    errno.EROFS: "make the disk of {folder} writable: findmnt --target {folder}",
    errno.EACCES: "give yourself the right to write there: chmod -R u+rwX {folder}",
    errno.EEXIST: "move away what is no folder: mv {folder} {folder}.old",
    errno.ENOTDIR: "move away what is no folder: ls -ld {folder}",
    errno.EPERM: "give yourself the right to write there: chmod -R u+rwX {folder}",
}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; only a finished, synced file takes the name."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_left_behind(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        temporary = Path(name)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; it takes the name once it is full, unless another was faster."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_left_behind(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        handle = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            try:
                temporary.rename(path)
            except OSError:
                if not path.exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` so that no reader ever sees a part of it."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Where the disk does not take `path`, a Problem that says so and what to look at."""
    try:
        yield
    except OSError as error:
        # NumPy tells only how much of an array the disk took, such as "4000 requested and 1024 written".
        is_cut_short = error.errno is None and str(error).endswith(" written")
        remedy = REMEDIES.get(errno.ENOSPC if is_cut_short else error.errno or 0)
        if not remedy:
            raise
        told = remedy.format(folder=path.parent)
        raise Problem(
            f"{path} cannot be written ({error.strerror or error}); {told}; then the same command goes on"
        ) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the system lets go of it when the process ends, however it ends."""
    path = folder / ".lock"
    with writable(path):
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise Problem(
                f"another run, process {holder}, works on {folder}; wait until it ends, or stop it: kill {holder}"
            ) from None
        with writable(path):
            lock.truncate(0)
            os.write(lock.fileno(), b"%d" % os.getpid())  # past the buffer, which would try again on a full disk
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait for the folder's other writers, then let them wait; for what is read, changed and written in a moment."""
    path = folder / ".lock"
    with writable(path):
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clear_left_behind(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; one that lives holds its own."""
    for left in [one for one in path.parent.iterdir() if one.name.startswith(f".{path.name}.")]:
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(handle)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
