"""Runs that are killed or stopped, or run out of memory, disk space or permissions, keep results and can be resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from conftest import ROOT, TEST_ROWS, wait_until

from competition.tuning.storage import open_storage

pytestmark = pytest.mark.integration

SPLIT = ("--competition", "digits8", "--folds", "3")
TRAINING = (*SPLIT, "--jobs", "2", "--models")
COMMANDS = {
    "data": ("data", *SPLIT[:2]),
    "cv": ("cv", *TRAINING, "knn knn.1"),
    "networks": ("cv", *TRAINING, "mlp"),
    "submit": ("submit", *TRAINING, "knn linear"),
    "report": ("report", *SPLIT, "--models", "knn linear"),
    "tune": ("tune", *TRAINING, "knn", "--trials", "3"),
}
PROGRAM = ("-m", "competition")
# Registers the small competition as built-in practice data, so that creating its files can be interrupted, too.
MAKE_DATA = """
import sys
from conftest import TRAIN_ROWS as n, small_digits
from competition.data import sources
from competition.data.practice import write_competition
from competition.__main__ import main

def make(folder):
    images, labels = small_digits()
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])

sources.KNOWN_COMPETITIONS["digits8"] = make
sys.exit(main())
"""
PROGRAMS = {"data": ("-c", MAKE_DATA)}
KEPT = "finished work is kept"
STOP_SECONDS = 5  # within which a run has to stop after a signal


@pytest.fixture
def faults(record_property):
    """Count the injected faults for the last line of the test report."""
    return lambda number=1: record_property("faults", number)


@dataclass
class Run:
    """A command that runs in its own process group and writes to a file, since a pipe could block it."""

    folder: Path
    command: str
    program: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen = field(init=False)

    def __post_init__(self) -> None:
        self.output_file = self.folder.parent / f"{self.command} {time.monotonic_ns()}.txt"
        program = self.program or PROGRAMS.get(self.command, PROGRAM)
        with self.output_file.open("w") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, *program, *COMMANDS[self.command]],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(["", str(ROOT), str(ROOT / "tests")])},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def wait(self) -> int:
        """Wait until the run and all processes that it started have ended; return its exit status."""
        status = self.process.wait(timeout=300)
        wait_until(lambda: not self.living_processes(), 60)
        return status

    def finish(self) -> int:
        """Wait for the run; fail if it printed a traceback."""
        status = self.wait()
        assert "Traceback" not in self.output, self.output
        return status

    def living_processes(self) -> list[psutil.Process]:
        """All processes of its group except zombies."""
        processes = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
        return processes

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        processes = []
        for process in self.living_processes():
            with suppress(psutil.NoSuchProcess):
                if any("popen_loky" in part for part in process.cmdline()):
                    processes.append(process)
        return processes

    def wait_for_files(self, files: int) -> None:
        """Wait until the folder has this number of files or the run has ended."""
        wait_until(lambda: len(files_of(self.folder)) >= files or self.process.poll() is not None)

    def kill(self, victim: str, rng: random.Random) -> bool:
        """Kill the parent, a worker or the process group with SIGKILL; return whether it was still running."""
        wait_until(lambda: victim != "worker" or self.workers() or self.process.poll() is not None)
        with suppress(IndexError, ProcessLookupError, psutil.NoSuchProcess):
            if victim == "worker":
                rng.choice(self.workers()).kill()
            else:
                (os.kill if victim == "parent" else os.killpg)(self.process.pid, signal.SIGKILL)
            return True
        return False


def files_of(folder: Path) -> dict[str, Path]:
    """All files in the folder by relative path, including temporary ones."""
    # Unlike a glob, os.walk does not fail if a folder is renamed meanwhile.
    paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return {str(path.relative_to(folder)): path for path in paths}


def expected_files(folder: Path) -> set[str]:
    """The names of all files except tuning results, which vary, and TensorBoard logs, whose names contain the time."""
    variable = tuple(f"folds/digits8/{name}" for name in ("tuning/", "param", "tensorboard/"))
    return {name for name in files_of(folder) if not name.startswith(variable)}


def reproducible_files(folder: Path) -> dict[str, bytes]:
    """The contents of files that identical runs share: data and cache, splits, predictions, submissions."""
    suffixes = (".npz", ".npy", ".csv")
    return {
        name: path.read_bytes()
        for name, path in files_of(folder).items()
        if path.suffix in suffixes and path.name != "log.csv"
    }


def finished_folds(folder: Path) -> dict[Path, int]:
    """The prediction files and their modification times."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("folds/*/*/*/fold-*.npz")}


def finished_trials(folder: Path) -> dict[tuple[str, str], float | None]:
    """The values of all finished trials by study and hyperparameters."""
    studies = folder / "folds" / "digits8"
    if not (studies / "studies.db").exists():
        return {}
    values = {}
    with open_storage(None, studies) as storage:
        for name in optuna.get_all_study_names(storage):
            for trial in optuna.load_study(study_name=name, storage=storage).get_trials():
                if trial.state.is_finished() and "checksum" in trial.user_attrs:  # not requeued
                    params = str(sorted(trial.params.items()))
                    assert (name, params) not in values, "hyperparameters were tried twice"
                    values[name, params] = trial.value
    return values


class UninterruptedRuns:
    """The folders before and after an uninterrupted run of each command, which runs when first needed."""

    def __init__(self, root: Path, competition: Path) -> None:
        self.root = root
        self.seconds: dict[str, float] = {}
        (root / "empty").mkdir()
        target = root / "raw" / "data" / competition.name
        shutil.copytree(competition, target, ignore=shutil.ignore_patterns("cache"))

    def before(self, command: str) -> Path:
        """The folder before the command."""
        if command == "report":
            return self.after("submit")
        return self.root / ("empty" if command == "data" else "raw")

    def after(self, command: str) -> Path:
        """The folder after the command."""
        if command not in self.seconds:
            start = time.monotonic()
            run = Run(copy(self.before(command), self.root / command), command)
            assert run.finish() == 0, run.output
            self.seconds[command] = time.monotonic() - start
        return self.root / command


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, competition_folder) -> UninterruptedRuns:
    return UninterruptedRuns(tmp_path_factory.mktemp("uninterrupted"), competition_folder)


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def assert_resumable(folder: Path, command: str, uninterrupted: UninterruptedRuns) -> None:
    """Run the command again; it must keep finished results and end with those of an uninterrupted run."""
    folds, trials = finished_folds(folder), finished_trials(folder)
    resumed = Run(folder, command)
    assert resumed.finish() == 0, resumed.output
    assert finished_folds(folder).items() >= folds.items(), "a finished fold was retrained"
    assert finished_trials(folder).items() >= trials.items(), "a finished trial was lost"
    if command != "tune":
        assert reproducible_files(folder).items() <= reproducible_files(uninterrupted.after(command)).items()


def kill_randomly(uninterrupted: UninterruptedRuns, command: str, victim: str, seed: int, root: Path) -> Path:
    """Kill a run at a random moment, and retry with an earlier one if it has already ended; return its folder."""
    rng = random.Random(f"{command} {victim} {seed}")
    moment = rng.random()
    for attempt in range(10):
        folder = copy(uninterrupted.before(command), root / f"{command} {attempt}")
        new = len(files_of(uninterrupted.after(command))) - len(files_of(folder))
        run = Run(folder, command)
        run.wait_for_files(len(files_of(folder)) + int(moment * new))
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(rng.random() * moment * uninterrupted.seconds[command] / (1 + new / 5))
        killed, status = run.kill(victim, rng), run.finish()
        assert status in (0, -signal.SIGKILL), run.output
        if killed and (victim == "worker" or status):
            return folder
        moment *= 0.7
    raise AssertionError(f"{command} always ended before it was killed")


QUICK = (("cv", "parent", 0), ("cv", "worker", 0), ("data", "group", 0))
# Most parents are killed in test_system_calls.py, at each of their system calls.
VICTIMS = {
    "cv": {"parent": 1, "worker": 3, "group": 2},
    "networks": {"parent": 1, "worker": 1},
    "submit": {"worker": 2, "group": 2},
    "tune": {"worker": 2, "group": 1},
    "data": {"group": 2},
    "report": {"parent": 2, "group": 2},
}
KILLS = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in (
        (command, victim, seed)
        for command, victims in VICTIMS.items()
        for victim, times in victims.items()
        for seed in range(times)
    )
]


@pytest.mark.parametrize(("command", "victim", "seed"), KILLS)
def test_a_killed_run_is_resumed_with_the_same_results(command, victim, seed, uninterrupted, tmp_path, faults):
    folder = kill_randomly(uninterrupted, command, victim, seed, tmp_path)
    assert_resumable(folder, command, uninterrupted)
    expected = uninterrupted.after(command)
    files, expected_contents = reproducible_files(folder), reproducible_files(expected)
    names = files.keys() | expected_contents.keys()
    assert [name for name in names if files.get(name) != expected_contents.get(name)] == []
    assert expected_files(folder) == expected_files(expected), "files are missing or left over"
    if command == "tune":
        baseline = next(iter(finished_trials(uninterrupted.after("tune")).items()))
        assert baseline in finished_trials(folder).items()
        assert sum(" share 0.33 " in study for study, _ in finished_trials(folder)) == 3
    for page in folder.glob("folds/*/*/report.html"):
        assert page.read_text().endswith("</html>\n")
        assert command == "submit" or page.read_bytes() == (expected / page.relative_to(folder)).read_bytes()
    log = folder / "submissions" / "log.csv"
    if log.exists():
        assert len(pd.read_csv(log)) == 1
    faults()


def wait_for_progress(run: Run) -> None:
    """Wait until the run has a first result and two running workers."""
    pattern = "studies.db" if run.command == "tune" else "fold-*.npz"
    wait_until(lambda: list(run.folder.glob(f"folds/digits8/**/{pattern}")) and len(run.workers()) == 2)


@pytest.mark.parametrize(
    ("command", "number", "times"),
    [
        ("cv", signal.SIGINT, 1),
        pytest.param("networks", signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param("submit", signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param("submit", signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param("tune", signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param("tune", signal.SIGTERM, 2, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_soon_and_keeps_finished_results(command, number, times, uninterrupted, tmp_path, faults):
    for attempt in range(3):  # a busy machine may be slow
        folder = copy(uninterrupted.before(command), tmp_path / f"{attempt}")
        run = Run(folder, command)
        wait_for_progress(run)
        start = time.monotonic()
        for _ in range(times):
            os.killpg(run.process.pid, number)  # to the whole process group, like a terminal
        assert run.finish() == 130 and run.output.count(KEPT) == 1, run.output
        if (seconds := time.monotonic() - start) < STOP_SECONDS:
            break
    faults()
    assert seconds < STOP_SECONDS
    assert finished_folds(folder) or command == "tune"
    assert_resumable(folder, command, uninterrupted)


MODEL = """
import os
import resource
import signal

import numpy as np
from sklearn.base import BaseEstimator

from competition.models.classical.spec import classical_spec
from competition.models.zoo import knn

FAILING_SEED = int(np.random.SeedSequence([0, 1]).generate_state(1)[0] % 2**31)  # the seed of fold 1


class NaNClassifier(BaseEstimator):
    def fit(self, images, labels):
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, images):
        return np.full((len(images), len(self.classes_)), np.nan)


def run_out_of_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, limits[1]))
    try:
        return np.ones(2**36)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def raise_value_error():
    raise ValueError("no such tile\\nand more")


def predict_nan():
    return NaNClassifier()


def pipeline(recipe, seed):
    return NAME() if seed == FAILING_SEED else knn.pipeline(recipe, seed)


SPEC = classical_spec(pipeline, knn.KnnRecipe(), knn.search_space, seconds=20)
"""
CAUSES = {
    "run-out-of-memory": "MemoryError: Unable to allocate",
    "kill-itself": "the worker died (SIGKILL(-9)); probably out of memory: lower JOBS",
    "raise-value-error": "ValueError: no such tile",
    "predict-nan": "FloatingPointError: the model returned invalid probabilities (NaN, negative, or rows",
}


@pytest.mark.slow
def test_a_failing_member_does_not_prevent_the_submission_of_the_others(uninterrupted, tmp_path, faults, monkeypatch):
    folder = copy(uninterrupted.before("submit"), tmp_path / "folder")
    shutil.copytree(ROOT / "competition", folder / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    for function in (name.replace("-", "_") for name in CAUSES):
        (folder / "competition" / "models" / "zoo" / f"{function}.py").write_text(MODEL.replace("NAME", function))
    monkeypatch.setitem(COMMANDS, "submit", ("submit", *TRAINING, " ".join(["knn", *CAUSES])))
    run = Run(folder, "submit")
    assert run.wait() == 2
    for name, cause in CAUSES.items():
        assert f"{name} fold 1 failed: {cause}" in run.output.replace("_ArrayMemoryError", "MemoryError"), run.output
        kept = sorted(path.name for path in folder.glob(f"folds/*/*/{name}/*.npz"))
        assert kept == ["fold-0.npz", "fold-2.npz"]
        faults()
    failed = ", ".join(sorted(f"{name} fold 1" for name in CAUSES))
    last = run.output.splitlines()[-1]
    assert last == f"error: {failed} failed, as reported above; other results are saved: run again to retry only these"
    submission = pd.read_csv(folder / "submissions" / "submission.csv")
    assert len(submission) == TEST_ROWS and submission["Label"].isin(range(10)).all()
    assert "submission 1: " in run.output


# In its own namespace a process may mount anything, and the mounts end with it.
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT_SMALL_DISK = "mount -t tmpfs -o size={size} tmpfs {target}"
MOUNT_READ_ONLY = "mount --bind {target} {target} && mount -o remount,bind,ro {target}"
RUN_AND_COPY = ' || exit 99; "$@"; status=$?; cp -a {target} kept; exit $status'


def failure_on_mount(folder: Path, command: str, mount: str, target: str) -> str:
    """Run the command with a file system mounted at `target`; copy its content to `kept`; return the error message."""
    probe = shutil.which("unshare") and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    if not probe or probe.returncode:
        pytest.skip("this system does not support unprivileged mounts")
    run = Run(folder, command, prefix=(*NAMESPACE, "sh", "-c", (mount + RUN_AND_COPY).format(target=target), "sh"))
    if (status := run.finish()) == 99:
        pytest.skip("this system does not support this mount")
    message = run.output.splitlines()[-1]
    assert status == 1 and message.startswith("error: "), run.output
    return message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "target", "size", "path_in_message"),
    [
        ("cv", "folds", "4k", "/.lock"),
        ("cv", "folds", "40k", "fold-"),
        ("cv", "folds", "3m", "fold-"),
        ("submit", "submissions", "4k", "submissions/"),
        ("cv", "data/digits8/cache", "100k", "data/digits8/cache/"),
        ("tune", "folds", "24k", "folds/digits8"),
        ("tune", "folds", "120k", "folds/digits8"),
    ],
)
def test_a_full_disk_is_reported_and_the_run_can_be_resumed(
    command, target, size, path_in_message, uninterrupted, tmp_path, faults
):
    folder = copy(uninterrupted.before(command), tmp_path / "folder")
    (folder / target).mkdir(parents=True)
    message = failure_on_mount(folder, command, MOUNT_SMALL_DISK.replace("{size}", size), target)
    assert path_in_message in message and "df -h" in message
    (folder / target).rmdir()
    (folder / "kept").rename(folder / target)
    assert_resumable(folder, command, uninterrupted)
    faults()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4k", "400k"])  # too small for the driver, and for the worker's results
def test_a_full_temporary_folder_is_reported_and_the_run_can_be_resumed(
    size, uninterrupted, tmp_path, faults, monkeypatch
):
    folder = copy(uninterrupted.before("cv"), tmp_path / "folder")
    (folder / "temporary").mkdir()
    with monkeypatch.context() as context:
        context.setenv("TMPDIR", str(folder / "temporary"))
        message = failure_on_mount(folder, "cv", MOUNT_SMALL_DISK.replace("{size}", size), "temporary")
    assert "temporary/.foldblend" in message and "df -h" in message
    shutil.rmtree(folder / "temporary")
    shutil.rmtree(folder / "kept")
    assert_resumable(folder, "cv", uninterrupted)
    faults()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "target", "path_in_message"),
    [
        ("cv", "folds", "folds/digits8/3-folds-seed-0/split.csv"),
        ("submit", "submissions", "submissions/"),
        ("data", "data", "data/digits8"),
        ("tune", "folds", "folds/digits8"),
        ("report", "folds", "report.html"),
    ],
)
def test_a_read_only_folder_is_reported(command, target, path_in_message, uninterrupted, tmp_path, faults):
    folder = copy(uninterrupted.before(command), tmp_path / "folder")
    (folder / target).mkdir(exist_ok=True)
    message = failure_on_mount(folder, command, MOUNT_READ_ONLY, target)
    assert path_in_message in message and "findmnt --target" in message
    faults()


JUMPING_CLOCK = f"""
import itertools, sys, time
now, jump = time.time, itertools.cycle((0, {86_400}, 0, {-86_400}))
time.time = lambda: now() + next(jump)
from competition.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["submit", "tune"])
def test_a_clock_that_jumps_by_a_day_changes_nothing(command, uninterrupted, tmp_path, faults, monkeypatch):
    monkeypatch.setitem(COMMANDS, command, (*COMMANDS[command], "--budget", "30m"))
    folder = copy(uninterrupted.before(command), tmp_path / "folder")
    run = Run(folder, command, program=("-c", JUMPING_CLOCK))
    assert run.finish() == 0, run.output
    assert " skipped: needs about " not in run.output and "time limit reached" not in run.output
    if command == "submit":
        assert reproducible_files(folder) == reproducible_files(uninterrupted.after("submit"))
        page = next(folder.glob("folds/*/*/report.html"))
        day = 86_400 * 10**9
        os.utime(page, ns=(day + page.stat().st_mtime_ns,) * 2)  # as written before the clock was set back
        page.write_bytes(b"an older run's")
        assert Run(folder, "submit").finish() == 0 and page.read_text().endswith("</html>\n")
    else:
        assert sum(" share 0.33 " in study for study, _ in finished_trials(folder)) == 3
    faults()


@pytest.mark.slow
def test_a_second_run_on_a_split_is_rejected(uninterrupted, tmp_path, faults):
    folder = copy(uninterrupted.before("submit"), tmp_path / "folder")
    holder = folder / "folds" / "digits8" / "3-folds-seed-0" / ".lock-holder"
    holder.parent.mkdir(parents=True)
    holder.write_text("1")  # the id of a dead or unrelated process
    first = Run(folder, "submit")
    wait_until(lambda: holder.read_text() == str(first.process.pid))
    second = Run(folder, "cv")
    assert second.finish() == 2
    assert "error: folds/digits8/3-folds-seed-0 is in use by another run; wait until it ends" in second.output
    assert f"kill {first.process.pid}" in second.output
    assert first.finish() == 0, first.output
    assert reproducible_files(folder) == reproducible_files(uninterrupted.after("submit"))
    faults(2)


@pytest.mark.slow
def test_two_runs_may_create_the_same_data_at_once(uninterrupted, tmp_path, faults):
    folder = copy(uninterrupted.before("data"), tmp_path / "folder")
    runs = [Run(folder, "data"), Run(folder, "data")]
    assert [run.finish() for run in runs] == [0, 0]
    assert reproducible_files(folder) == reproducible_files(uninterrupted.after("data"))
    faults()
