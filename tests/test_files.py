import os
import subprocess
import sys

import pytest
from conftest import ROOT

from competition.errors import Problem
from competition.files import alone, sha256, whole, whole_folder, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.csv"
    write_whole(path, b"old")
    with pytest.raises(RuntimeError), whole(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_readable_like_any_other(tmp_path):
    path, plain = tmp_path / "deep" / "a", tmp_path / "b"
    write_whole(path, b"x")
    plain.write_bytes(b"x")
    assert path.stat().st_mode == plain.stat().st_mode


KILLED = """
import os, signal, sys
from pathlib import Path
from competition.files import whole, whole_folder
with whole(Path(sys.argv[1])) as file, whole_folder(Path(sys.argv[2])) as folder:
    file.write_bytes(b"half of it")
    (folder / "part").write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_ones_stays(tmp_path):
    file, folder = tmp_path / "a.csv", tmp_path / "cache"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", KILLED, str(file), str(folder)], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with whole(file) as slow, whole_folder(folder) as slowly:
        slow.write_bytes(b"slow")
        write_whole(file, b"fast")
        with whole_folder(folder) as fast:
            (fast / "part").write_bytes(b"all of it")
        assert slow.exists() and slowly.exists()
    assert file.read_bytes() == b"slow" and (folder / "part").read_bytes() == b"all of it"
    assert sorted(tmp_path.iterdir()) == [file, folder]


def test_sha256_is_the_published_one(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


HOLDER = """
import sys, time
from pathlib import Path
from competition.files import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_has_one_holder_and_a_dead_one_is_no_wall(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout.readline() == "held\n"
        told = f"another run, process {holder.pid}, works on .*: kill {holder.pid}"
        with pytest.raises(Problem, match=told), alone(tmp_path):
            pass
        holder.kill()
    with alone(tmp_path):
        pass
