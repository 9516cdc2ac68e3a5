"""Open the storage of the studies and report its errors."""

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from json import JSONDecodeError
from pathlib import Path

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage

from competition.errors import UserError
from competition.files import explain_write_errors

HEARTBEAT_SECONDS = 15  # between heartbeats of a running trial
STALE_SECONDS = 60  # without a heartbeat after which a trial's driver is assumed dead
RETRY_SECONDS = (0.5, 1.0, 0.0)  # to wait after each failed attempt to open a storage


@contextmanager
def open_storage(url: str | None, folder: Path) -> Iterator[RDBStorage]:
    """The storage of the studies: by default studies.db in `folder`, else any database URL that Optuna accepts.

    Its connections are closed on exit.
    """
    storage = _connect(url, folder)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _connect(url: str | None, folder: Path) -> RDBStorage:
    remedy = "is it running, and is requirements-tune.txt installed?"
    if not url:
        path = folder / "studies.db"
        _check_integrity(path)
        url = f"sqlite:///{path}"
        remedy = f"{_check_disk(folder)}; or move it away: mv {path} {path}.old"
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for seconds in RETRY_SECONDS:
        try:
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return RDBStorage(url, options, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=STALE_SECONDS)
        except Exception as error:  # each database has its own exceptions
            reason = str(error).splitlines()[0]
        time.sleep(seconds)  # another driver may be creating the tables
    raise UserError(f"cannot open the storage of the studies, {url} ({reason}); {remedy}")


def _check_disk(folder: Path) -> str:
    return f"check free space and permissions: df -h {folder}; ls -l {folder}"


def _check_integrity(path: Path) -> None:
    """`UserError` if SQLite finds the file damaged; create its folder if the file does not exist yet."""
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.exists():
            with closing(sqlite3.connect(path, timeout=60)) as database:
                (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
                if result != "ok":
                    raise sqlite3.DatabaseError(result.splitlines()[-1])
    except sqlite3.OperationalError:
        pass  # it cannot be opened at all, which `_connect` reports
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        remedy = f"move it away to start a new search: mv {path} {path}.old"
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None


@contextmanager
def explain_storage_errors(url: str | None, folder: Path) -> Iterator[None]:
    """Raise `UserError` with the storage's name if it fails during a search; what was stored before is kept."""
    try:
        yield
    except (StorageInternalError, JSONDecodeError) as error:
        path = folder / "studies.db"
        reason = str(error.__cause__ or error).splitlines()[0]
        remedy = _check_disk(folder)
        if isinstance(error, JSONDecodeError) and not url:
            remedy = f"it is damaged; move it away to start a new search: mv {path} {path}.old"
        raise UserError(f"the storage of the studies, {url or path}, failed ({reason}); {remedy}") from None
