"""The database of the studies."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

from optuna.storages import RDBStorage
from optuna.study import StudyDirection

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


def test_drivers_that_create_the_database_at_the_same_time_share_it(tmp_path):
    names, barrier = [f"study {number}" for number in range(4)], Barrier(4)

    def create_study(name):
        barrier.wait()
        with open_storage(None, tmp_path) as storage:
            storage.create_new_study([StudyDirection.MAXIMIZE], name)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(create_study, names))
    with open_storage(None, tmp_path) as storage:
        assert sorted(study.study_name for study in storage.get_all_studies()) == names
