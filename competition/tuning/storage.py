"""Open the storage of the studies and report its errors."""

import re
import shlex
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from json import JSONDecodeError
from pathlib import Path

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from competition.errors import DiskError, UserError, first_line, move_away
from competition.files import atomic_file, explain_write_errors, make_folder, wait_for_lock

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
    remedy = "check that the server is running and its driver is installed"
    is_server = bool(url)
    if not url:
        path = folder / "studies.db"
        _check_integrity(path)
        url = f"sqlite:///{path}"
        remedy = f"{_check_disk(folder)}; or move it away: {move_away(path)}"
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for seconds in RETRY_SECONDS:
        try:
            if not is_server:
                _create_database(path)
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return RDBStorage(url, options, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=STALE_SECONDS)
        except UserError:
            raise
        except Exception as error:  # each database has its own exceptions
            reason = first_line(error).replace(url, hide_password(url))
        time.sleep(seconds)  # another driver may be creating the tables
    error_type = UserError if is_server else DiskError
    raise error_type(f"cannot open the study database {hide_password(url)} ({reason}); {remedy}")


def hide_password(url: str) -> str:
    """The URL as it may be printed."""
    with suppress(ArgumentError):
        return make_url(url).render_as_string(hide_password=True)
    return re.sub(r":[^:@/]*@", ":***@", url)


def _create_database(path: Path) -> None:
    """Create the tables and indexes of a new database before it gets its name.

    If that was interrupted, Optuna would never create the missing index by which names of studies are unique.
    """
    with wait_for_lock(path.parent):
        if not path.exists():
            with atomic_file(path) as temporary:
                RDBStorage(f"sqlite:///{temporary}").engine.dispose()


def _check_disk(folder: Path) -> str:
    quoted = shlex.quote(str(folder))
    return f"check free space and permissions: df -h {quoted}; ls -l {quoted}"


def _check_integrity(path: Path) -> None:
    """`UserError` if SQLite finds the file damaged; create its folder if the file does not exist yet."""
    with explain_write_errors(path):
        make_folder(path.parent)
    try:
        if path.exists():
            with closing(sqlite3.connect(path, timeout=60)) as database:
                (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
                if result != "ok":
                    raise sqlite3.DatabaseError(result.splitlines()[-1])
    except sqlite3.OperationalError:
        pass  # it cannot be opened at all, which `_connect` reports
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        remedy = f"move it away to start a new search: {move_away(path)}"
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None


@contextmanager
def explain_storage_errors(url: str | None, folder: Path) -> Iterator[None]:
    """Raise `UserError` with the database's name if it fails during a search; what was stored before is kept."""
    try:
        yield
    except (StorageInternalError, JSONDecodeError) as error:
        path = folder / "studies.db"
        reason = first_line(error.__cause__ or error)
        remedy = "check that the server is running" if url else _check_disk(folder)
        is_damaged = isinstance(error, JSONDecodeError)
        if is_damaged and not url:
            remedy = f"it is damaged; move it away to start a new search: {move_away(path)}"
        name = hide_password(url) if url else path
        error_type = UserError if url or is_damaged else DiskError
        raise error_type(f"the study database {name} failed ({reason}); {remedy}") from None
