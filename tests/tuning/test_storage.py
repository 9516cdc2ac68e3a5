"""The database of the studies."""

import sqlite3
from contextlib import closing

from optuna.storages import RDBStorage

from competition.tuning import storage as storage_module
from competition.tuning.storage import open_storage


def test_a_creation_that_fails_before_the_indexes_is_begun_again(tmp_path, monkeypatch):
    attempts = []

    def open_database(url, *arguments, **options):
        attempts.append(url)
        if len(attempts) == 1:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
                database.execute("CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512))")
            raise sqlite3.OperationalError("unable to open database file")
        return RDBStorage(url, *arguments, **options)

    monkeypatch.setattr(storage_module, "RDBStorage", open_database)
    with open_storage(None, tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "studies.db")) as database:
        unique = [name for _, name, is_unique, *_ in database.execute("PRAGMA index_list(studies)") if is_unique]
    assert unique == ["ix_studies_study_name"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "studies.db"]
