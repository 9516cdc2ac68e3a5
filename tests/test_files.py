import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from competition.errors import DiskError, UserError
from competition.files import (
    atomic_file,
    atomic_folder,
    describe_file_error,
    exclusive_lock,
    explain_write_errors,
    remove_stale_files,
    remove_stale_scratch_folders,
    reserve_space,
    scratch_folder,
    sha256,
    wait_for_lock,
    write_atomically,
)


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


def test_leftovers_of_any_name_are_removed_at_the_next_start(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    paths = [str(tmp_path / "deep" / name) for name in ("a.csv", "cache")]
    subprocess.run([sys.executable, "-c", KILLED_WRITER, *paths], env=environment, check=False)
    (tmp_path / "deep" / ".hidden").touch()
    with atomic_file(tmp_path / "deep" / "b") as running:
        running.touch()
        remove_stale_files(tmp_path)
        assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted([".hidden", running.name])


KILLED_WITH_SCRATCH = """
import os, signal
from competition.files import scratch_folder
with scratch_folder() as folder:
    (folder / "part").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_scratch_folder_of_a_killed_process_is_removed_by_the_next(tmp_path, monkeypatch):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", KILLED_WITH_SCRATCH], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder] and folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_of_ended_processes_are_removed_by_runs_that_need_none(tmp_path, monkeypatch):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", KILLED_WITH_SCRATCH], env=environment, check=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as own:
        remove_stale_scratch_folders()
        assert list(tmp_path.iterdir()) == [own]


NO_TEMPORARY_FILES = """
import resource
from competition.errors import DiskError
from competition.files import scratch_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    with scratch_folder():
        pass
except DiskError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(error)
"""


def test_full_folders_for_temporary_files_are_reported():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", NO_TEMPORARY_FILES], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("No usable temporary directory found in [")
    assert result.stdout.endswith("; free some space there, or set TMPDIR to a folder that has some\n")


def test_a_write_that_the_system_refuses_names_the_file_and_the_remedy(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskError) as error:
            write_atomically(tmp_path / "a.csv", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check = f"check the disk of {tmp_path}: df -h {tmp_path}; ls -ld {tmp_path}"
    again = "then run the same command again to continue"
    assert str(error.value) == f"cannot write {tmp_path}/a.csv (File too large); {check}; {again}"
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_file_that_it_is_about(tmp_path):
    path, other = tmp_path / "out" / "a.csv", tmp_path / "in.csv"
    messages = {other: f"cannot read or write {other} (", path.parent / ".a.csv.node~1~f.csv": f"cannot write {path} ("}
    for file, message in messages.items():
        with pytest.raises(DiskError) as error, explain_write_errors(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        assert str(error.value).startswith(f"{message}Input/output error); check the disk of {file.parent}: ")
    no_file = describe_file_error(OSError(errno.EIO, os.strerror(errno.EIO)))
    assert str(no_file).startswith("cannot read or write a file (Input/output error); check the disk: df -h")


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


def test_a_run_that_ends_while_another_is_refused_is_no_error(tmp_path, monkeypatch):
    holder, read_text = tmp_path / ".lock-holder", Path.read_text

    def end_run(path, *arguments, **options):
        """Remove the file that names the other run just before it is read."""
        if path == holder:
            holder.unlink(missing_ok=True)
        return read_text(path, *arguments, **options)

    holder.write_text("12345")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", end_run)
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


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
def test_reserved_space_is_taken_from_the_disk_and_keeps_the_content(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"header")
        file.truncate(1_000_000)
    assert path.stat().st_blocks * 512 < 1_000_000
    reserve_space(path)
    assert path.stat().st_blocks * 512 >= 1_000_000
    assert path.read_bytes() == b"header".ljust(1_000_000, b"\0")
