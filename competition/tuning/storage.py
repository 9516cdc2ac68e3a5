"""Where studies lie, and whether they are whole."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from json import JSONDecodeError
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from competition.errors import Problem
from competition.files import writable

PATIENCE = (0.5, 1.0, 0.0)  # seconds after each attempt to open a storage


@contextmanager
def open_storage(url: str | None, folder: Path) -> Iterator[RDBStorage]:
    """Where studies lie: a file under the competition's folder of folds, or any database that Optuna takes.

    Its connections are closed when the block ends.
    """
    storage = _connected(url, folder)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _connected(url: str | None, folder: Path) -> RDBStorage:
    remedy = "is it running, and is requirements-tune.txt installed?"
    if not url:
        studies = _undamaged(folder / "studies.db")
        url, aside = f"sqlite:///{studies}", f"mv {studies} {studies}.old"
        remedy = f"is there room, and may one write there? df -h {folder}; ls -l {folder}; or put it aside: {aside}"
    patient = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for wait in PATIENCE:
        try:
            return RDBStorage(url, engine_kwargs=patient)
        except Exception as error:  # each database has errors of its own
            reason = str(error).splitlines()[0]
        time.sleep(wait)  # perhaps another driver is just making the tables
    raise Problem(f"the studies' storage {url} cannot be opened ({reason}); {remedy}")


def _undamaged(studies: Path) -> Path:
    """The file of studies, if SQLite finds it whole or it is still to be made."""
    with writable(studies):
        studies.parent.mkdir(parents=True, exist_ok=True)
    try:
        if studies.exists():
            with closing(sqlite3.connect(studies, timeout=60)) as database:
                (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(found.splitlines()[-1])
    except sqlite3.OperationalError:
        pass  # not to be opened at all; whoever opens it next tells why
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        aside = f"mv {studies} {studies}.old"
        raise Problem(f"{studies} is damaged ({error}); put it aside and begin the search anew: {aside}") from None
    return studies


@contextmanager
def stored(url: str | None, folder: Path) -> Iterator[None]:
    """Where the storage fails in the midst of a search, a Problem that names it; what was stored before is kept."""
    try:
        yield
    except (StorageInternalError, JSONDecodeError) as error:
        where, reason = url or folder / "studies.db", str(error.__cause__ or error).splitlines()[0]
        remedy = f"is there room, and may one write there? df -h {folder}; ls -l {folder}"
        if isinstance(error, JSONDecodeError) and not url:
            remedy = f"it is damaged; put it aside and begin the search anew: mv {where} {where}.old"
        raise Problem(f"the studies' storage {where} fails ({reason}); {remedy}") from None
