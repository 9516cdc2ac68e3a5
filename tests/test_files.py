import os
import subprocess
import sys

import pytest
from conftest import ROOT

from competition.errors import UserError
from competition.files import atomic_file, atomic_folder, exclusive_lock, sha256, wait_for_lock, write_atomically


def test_a_failed_write_keeps_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.csv"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_default_permissions(tmp_path):
    path, plain = tmp_path / "deep" / "a", tmp_path / "b"
    write_atomically(path, b"x")
    plain.write_bytes(b"x")
    assert path.stat().st_mode == plain.stat().st_mode


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from competition.files import atomic_file, atomic_folder
with atomic_file(Path(sys.argv[1])) as file, atomic_folder(Path(sys.argv[2])) as folder:
    file.write_bytes(b"half of it")
    (folder / "part").write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_files_of_killed_writers_are_removed_and_those_of_running_ones_kept(tmp_path):
    file, folder = tmp_path / "a.csv", tmp_path / "cache"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(file), str(folder)], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_file(file) as slow, atomic_folder(folder) as slow_folder:
        slow.write_bytes(b"slow")
        write_atomically(file, b"fast")
        with atomic_folder(folder) as fast_folder:
            (fast_folder / "part").write_bytes(b"all of it")
        assert slow.exists() and slow_folder.exists()
    assert file.read_bytes() == b"slow" and (folder / "part").read_bytes() == b"all of it"
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_sha256_matches_the_published_test_vector(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


HOLDER = """
import sys, time
from pathlib import Path
from competition.files import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_lock_without_a_process_id_does_not_suggest_to_kill_one(tmp_path):
    with wait_for_lock(tmp_path), pytest.raises(UserError) as error, exclusive_lock(tmp_path):
        pass
    assert str(error.value) == f"{tmp_path} is in use by another run; wait until it ends"


def test_a_folder_is_locked_until_its_process_ends(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        try:
            assert holder.stdout.readline() == "locked\n"
            message = f"in use by another run; wait until it ends, or stop process {holder.pid}: kill {holder.pid}"
            with pytest.raises(UserError, match=message), exclusive_lock(tmp_path):
                pass
        finally:
            holder.kill()
    with exclusive_lock(tmp_path):
        pass
