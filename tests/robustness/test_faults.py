"""Runs that are killed, stopped, starved or shut out: what is finished stays, and the rest is made good."""

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

SPLIT = ("--competition", "digits8", "--folds", "3")
TRAINING = (*SPLIT, "--jobs", "2", "--models")
COMMANDS = {
    "data": ("data", *SPLIT[:2]),
    "cv": ("cv", *TRAINING, "knn", "knn.1"),
    "networks": ("cv", *TRAINING, "mlp"),
    "submit": ("submit", *TRAINING, "knn", "linear"),
    "report": ("report", *SPLIT, "--models", "knn", "linear"),
    "tune": ("tune", *TRAINING, "knn", "--trials", "3"),
}
PROGRAM = ("-m", "competition")
# The files of the small competition are made as those of an embedded one are, so that this can be disturbed, too.
MAKER = """
import sys
from conftest import TRAIN_ROWS as n, small_digits
from competition.data import sources
from competition.data.practice import write_competition
from competition.__main__ import main

def make(folder):
    images, labels = small_digits()
    write_competition(folder, images[:n], labels[:n], images[n:], labels[n:])

sources.KNOWN["digits8"] = make
sys.exit(main())
"""
PROGRAMS = {"data": ("-c", MAKER)}
KEPT = "what is finished is kept"
SOON = 5  # seconds in which a run that is asked to end has to


@pytest.fixture
def faults(record_property):
    """Counts the faults that a test tried, for the suite's last line."""
    return lambda number=1: record_property("faults", number)


@dataclass
class Run:
    """A command at work in a process group of its own; what it says goes to a file, which never waits for a reader."""

    folder: Path
    verb: str
    program: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    process: subprocess.Popen = field(init=False)

    def __post_init__(self) -> None:
        self.said = self.folder.parent / f"{self.verb} {time.monotonic_ns()}.txt"
        program = self.program or PROGRAMS.get(self.verb, PROGRAM)
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, *program, *COMMANDS[self.verb]],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(["", str(ROOT), str(ROOT / "tests")])},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def words(self) -> str:
        return self.said.read_text()

    def status(self) -> int:
        """Wait for the run's end and for that of all that it started."""
        status = self.process.wait(timeout=300)
        wait_until(lambda: not self.alive(), 60)
        return status

    def end(self) -> int:
        """The same of a run that has nothing to show but words."""
        status = self.status()
        assert "Traceback" not in self.words, self.words
        return status

    def alive(self) -> list[psutil.Process]:
        """All processes of its group; one that waits to be buried does not live."""
        found = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """Those that run tasks."""
        found = []
        for process in self.alive():
            with suppress(psutil.NoSuchProcess):
                if any("popen_loky" in part for part in process.cmdline()):
                    found.append(process)
        return found

    def watch(self, files: int) -> None:
        """Wait until there are so many files, or the run has ended."""
        wait_until(lambda: len(files_of(self.folder)) >= files or self.process.poll() is not None)

    def kill(self, victim: str, chance: random.Random) -> bool:
        """Kill -9 the parent, one worker or all; whether there was still something to kill."""
        wait_until(lambda: victim != "worker" or self.workers() or self.process.poll() is not None)
        with suppress(IndexError, ProcessLookupError, psutil.NoSuchProcess):
            if victim == "worker":
                chance.choice(self.workers()).kill()
            else:
                (os.kill if victim == "parent" else os.killpg)(self.process.pid, signal.SIGKILL)
            return True
        return False


def files_of(folder: Path) -> dict[str, Path]:
    """Everything that lies there, what was left half-written included."""
    # Unlike a glob, a walk does not mind folders that get another name meanwhile.
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return {str(path.relative_to(folder)): path for path in found}


def certain_names(folder: Path) -> set[str]:
    """All but what a search leaves if it finds something, and TensorBoard's files, which are named after the time."""
    uncertain = tuple(f"folds/digits8/{name}" for name in ("tuning/", "param", "tensorboard/"))
    return {name for name in files_of(folder) if not name.startswith(uncertain)}


def same_bytes(folder: Path) -> dict[str, bytes]:
    """What equal runs make equal: data and its cache, splits, predictions, submissions."""
    promised = (".npz", ".npy", ".csv")
    return {
        name: path.read_bytes()
        for name, path in files_of(folder).items()
        if path.suffix in promised and path.name != "ledger.csv"
    }


def finished_folds(folder: Path) -> dict[Path, int]:
    """The whole files of predictions, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("folds/*/*/*/fold-*.npz")}


def finished_trials(folder: Path) -> dict[tuple[str, str], float | None]:
    """The values of all finished trials, by study and settings; settings are never tried twice."""
    studies = folder / "folds" / "digits8"
    if not (studies / "studies.db").exists():
        return {}
    found = {}
    with open_storage(None, studies) as storage:
        for name in optuna.get_all_study_names(storage):
            for trial in optuna.load_study(study_name=name, storage=storage).get_trials():
                if trial.state.is_finished() and not trial.user_attrs.get("given back"):
                    settings = str(sorted(trial.params.items()))
                    assert (name, settings) not in found, "settings were tried twice"
                    found[name, settings] = trial.value
    return found


class Undisturbed:
    """Each verb's folder before and after a run that nothing disturbed, made when it is first asked for."""

    def __init__(self, place: Path, competition: Path) -> None:
        self.place = place
        self.seconds: dict[str, float] = {}
        (place / "empty").mkdir()
        target = place / "raw" / "data" / competition.name
        shutil.copytree(competition, target, ignore=shutil.ignore_patterns("cache"))

    def before(self, verb: str) -> Path:
        """What the verb needs."""
        if verb == "report":
            return self.after("submit")
        return self.place / ("empty" if verb == "data" else "raw")

    def after(self, verb: str) -> Path:
        """What it leaves."""
        if verb not in self.seconds:
            begun = time.monotonic()
            run = Run(copy(self.before(verb), self.place / verb), verb)
            assert run.end() == 0, run.words
            self.seconds[verb] = time.monotonic() - begun
        return self.place / verb


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, competition_folder) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"), competition_folder)


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def disturbed(undisturbed: Undisturbed, verb: str, victim: str, seed: int, place: Path) -> Path:
    """The folder of a run that was killed at a random moment; where that came too late, another at an earlier one."""
    chance = random.Random(f"{verb} {victim} {seed}")
    moment = chance.random()
    for attempt in range(10):
        folder = copy(undisturbed.before(verb), place / f"{verb} {attempt}")
        new = len(files_of(undisturbed.after(verb))) - len(files_of(folder))
        run = Run(folder, verb)
        run.watch(len(files_of(folder)) + int(moment * new))
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(chance.random() * moment * undisturbed.seconds[verb] / (1 + new / 5))
        killed, status = run.kill(victim, chance), run.end()
        assert status in (0, -signal.SIGKILL), run.words
        if killed and (victim == "worker" or status):
            return folder
        moment *= 0.7
    raise AssertionError(f"{verb} always ended before it was killed")


QUICK = (("cv", "parent", 0), ("cv", "worker", 0), ("data", "group", 0))
VICTIMS = {
    "cv": {"parent": 3, "worker": 3, "group": 2},
    "networks": {"parent": 1, "worker": 1},
    "submit": {"parent": 3, "worker": 2, "group": 2},
    "tune": {"parent": 2, "worker": 2, "group": 1},
    "data": {"parent": 3, "group": 2},
    "report": {"parent": 2, "group": 2},
}
KILLS = [
    pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow)
    for one in (
        (verb, victim, seed)
        for verb, victims in VICTIMS.items()
        for victim, times in victims.items()
        for seed in range(times)
    )
]


@pytest.mark.parametrize(("verb", "victim", "seed"), KILLS)
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(verb, victim, seed, undisturbed, tmp_path, faults):
    folder = disturbed(undisturbed, verb, victim, seed, tmp_path)
    folds, trials = finished_folds(folder), finished_trials(folder)
    again = Run(folder, verb)
    assert again.end() == 0, again.words
    whole = undisturbed.after(verb)
    ours, theirs = same_bytes(folder), same_bytes(whole)
    assert [name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)] == []
    assert certain_names(folder) == certain_names(whole), "something is missing or was left behind"
    assert finished_folds(folder).items() >= folds.items(), "a finished fold was trained again"
    assert finished_trials(folder).items() >= trials.items(), "a finished trial was lost"
    if verb == "tune":
        present = next(iter(finished_trials(undisturbed.after("tune")).items()))
        assert present in finished_trials(folder).items()
        assert sum(" share 0.33 " in study for study, _ in finished_trials(folder)) == 3
    for page in folder.glob("folds/*/*/report.html"):
        assert page.read_text().endswith("</html>\n")
        assert verb == "submit" or page.read_bytes() == (whole / page.relative_to(folder)).read_bytes()
    ledger = folder / "submissions" / "ledger.csv"
    if ledger.exists():
        assert len(pd.read_csv(ledger)) == 1
    faults()


def begun(run: Run) -> None:
    """Wait until the run has finished something, and not all."""
    made = "studies.db" if run.verb == "tune" else "fold-*.npz"
    wait_until(lambda: list(run.folder.glob(f"folds/digits8/**/{made}")) and len(run.workers()) == 2)


@pytest.mark.parametrize(
    ("verb", "number", "times"),
    [
        ("cv", signal.SIGINT, 1),
        pytest.param("networks", signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param("submit", signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param("submit", signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param("tune", signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param("tune", signal.SIGTERM, 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_ends_soon_and_keeps_what_is_finished(verb, number, times, undisturbed, tmp_path, faults):
    for attempt in range(3):  # the machine may have had other work
        folder = copy(undisturbed.before(verb), tmp_path / f"{attempt}")
        run = Run(folder, verb)
        begun(run)
        start = time.monotonic()
        for _ in range(times):
            os.killpg(run.process.pid, number)  # as a terminal does it: to all of them
        assert run.end() == 130 and run.words.count(KEPT) == 1, run.words
        faults()
        if (seconds := time.monotonic() - start) < SOON:
            break
    assert seconds < SOON
    folds, trials = finished_folds(folder), finished_trials(folder)
    assert folds or verb == "tune"
    again = Run(folder, verb)
    assert again.end() == 0, again.words
    assert finished_folds(folder).items() >= folds.items() and finished_trials(folder).items() >= trials.items()
    assert verb == "tune" or same_bytes(folder).items() <= same_bytes(undisturbed.after(verb)).items()


MODEL = """
import os
import resource
import signal

import numpy as np
from sklearn.base import BaseEstimator

from competition.models.classical.spec import classical
from competition.models.zoo import knn

UNLUCKY = int(np.random.SeedSequence([0, 1]).generate_state(1)[0] % 2**31)  # the seed of fold 1


class Silent(BaseEstimator):
    def fit(self, images, labels):
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, images):
        return np.full((len(images), len(self.classes_)), np.nan)


def hungry():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, limits[1]))
    try:
        return np.ones(2**36)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def taken():
    os.kill(os.getpid(), signal.SIGKILL)


def torn():
    raise ValueError("no such tile\\nand more")


def lost():
    return Silent()


def pipeline(recipe, seed):
    return NAME() if seed == UNLUCKY else knn.pipeline(recipe, seed)


SPEC = classical(pipeline, knn.Neighbourhood(), knn.search, seconds=20)
"""
CAUSES = {
    "hungry": "MemoryError: Unable to allocate",
    "taken": "its worker died, SIGKILL(-9); SIGKILL mostly means that the memory ran out: try fewer JOBS",
    "torn": "ValueError: no such tile",
    "lost": "FloatingPointError: its predictions are not probabilities",
}


@pytest.mark.slow
def test_what_starves_dies_raises_or_predicts_nothing_fails_alone_and_the_rest_is_submitted(
    undisturbed, tmp_path, faults, monkeypatch
):
    folder = copy(undisturbed.before("submit"), tmp_path / "folder")
    shutil.copytree(ROOT / "competition", folder / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    for name in CAUSES:
        (folder / "competition" / "models" / "zoo" / f"{name}.py").write_text(MODEL.replace("NAME", name))
    monkeypatch.setitem(COMMANDS, "submit", ("submit", *TRAINING, "knn", *CAUSES))
    run = Run(folder, "submit")
    assert run.status() == 2
    for name, cause in CAUSES.items():
        assert f"{name} fold 1 failed: {cause}" in run.words.replace("_ArrayMemoryError", "MemoryError"), run.words
        kept = sorted(path.name for path in folder.glob(f"folds/*/*/{name}/*.npz"))
        assert kept == ["fold-0.npz", "fold-2.npz"]
        faults()
    failed = ", ".join(sorted(f"{name} fold 1" for name in CAUSES))
    last = run.words.splitlines()[-1]
    assert last == f"error: {failed} failed, as told above; the rest is kept: run again to retry only these"
    submission = pd.read_csv(folder / "submissions" / "submission.csv")
    assert len(submission) == TEST_ROWS and submission["Label"].isin(range(10)).all()
    assert "submission 1: " in run.words


# In a namespace of its own one may mount whatever one likes, and it is gone with the process.
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
FULL = "mount -t tmpfs -o size={size} tmpfs {where}"
READ_ONLY = "mount --bind {where} {where} && mount -o remount,bind,ro {where}"
THEN_KEEP = ' || exit 99; "$@"; status=$?; cp -a {where} kept; exit $status'


def in_namespace(mount: str, where: str) -> tuple[str, ...]:
    """Run what follows with something mounted at `where`, whose content is left in `kept`."""
    can = shutil.which("unshare") and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    if not can or can.returncode:
        pytest.skip("this system lets nobody but root mount anything")
    return *NAMESPACE, "sh", "-c", (mount + THEN_KEEP).format(where=where), "sh"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "where", "size", "named"),
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
def test_a_full_disk_is_named_and_with_room_the_run_goes_on(verb, where, size, named, undisturbed, tmp_path, faults):
    folder = copy(undisturbed.before(verb), tmp_path / "folder")
    (folder / where).mkdir(parents=True)
    run = Run(folder, verb, before=in_namespace(FULL.replace("{size}", size), where))
    if (status := run.end()) == 99:
        pytest.skip("this system lets nobody mount that")
    assert status == 2, run.words
    told = run.words.splitlines()[-1]
    assert told.startswith("error: ") and named in told and "df -h" in told, run.words
    (folder / where).rmdir()
    (folder / "kept").rename(folder / where)
    folds, trials = finished_folds(folder), finished_trials(folder)
    again = Run(folder, verb)
    assert again.end() == 0, again.words
    assert finished_folds(folder).items() >= folds.items() and finished_trials(folder).items() >= trials.items()
    assert verb == "tune" or same_bytes(folder).items() <= same_bytes(undisturbed.after(verb)).items()
    faults()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "where", "named"),
    [
        ("cv", "folds", "folds/digits8/3-folds-seed-0/split.csv"),
        ("submit", "submissions", "submissions/"),
        ("data", "data", "data/digits8"),
        ("tune", "folds", "folds/digits8"),
        ("report", "folds", "report.html"),
    ],
)
def test_a_folder_that_may_only_be_read_is_named(verb, where, named, undisturbed, tmp_path, faults):
    folder = copy(undisturbed.before(verb), tmp_path / "folder")
    (folder / where).mkdir(exist_ok=True)
    run = Run(folder, verb, before=in_namespace(READ_ONLY, where))
    if (status := run.end()) == 99:
        pytest.skip("this system lets nobody mount that")
    assert status == 2, run.words
    told = run.words.splitlines()[-1]
    assert told.startswith("error: ") and named in told and "findmnt --target" in told, run.words
    faults()


JUMPING = f"""
import itertools, sys, time
now, jump = time.time, itertools.cycle((0, {86_400}, 0, {-86_400}))
time.time = lambda: now() + next(jump)
from competition.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["submit", "tune"])
def test_a_clock_that_jumps_by_a_day_changes_nothing(verb, undisturbed, tmp_path, faults, monkeypatch):
    monkeypatch.setitem(COMMANDS, verb, (*COMMANDS[verb], "--budget", "30m"))
    folder = copy(undisturbed.before(verb), tmp_path / "folder")
    run = Run(folder, verb, program=("-c", JUMPING))
    assert run.end() == 0, run.words
    assert "is left out" not in run.words and "the time is up" not in run.words
    if verb == "submit":
        assert same_bytes(folder) == same_bytes(undisturbed.after("submit"))
        page = next(folder.glob("folds/*/*/report.html"))
        day = 86_400 * 10**9
        os.utime(page, ns=(day + page.stat().st_mtime_ns,) * 2)  # written before the clock was set back
        page.write_bytes(b"an older run's")
        assert Run(folder, "submit").end() == 0 and page.read_text().endswith("</html>\n")
    else:
        assert sum(" share 0.33 " in study for study, _ in finished_trials(folder)) == 3
    faults()


@pytest.mark.slow
def test_of_two_runs_on_a_split_one_works_and_the_other_tells_which(undisturbed, tmp_path, faults):
    folder = copy(undisturbed.before("submit"), tmp_path / "folder")
    lock = folder / "folds" / "digits8" / "3-folds-seed-0" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("1")  # of a process that is long dead, or has nothing to do with it
    first = Run(folder, "submit")
    wait_until(lambda: lock.read_text() == str(first.process.pid))
    second = Run(folder, "cv")
    assert second.end() == 2
    assert f"error: another run, process {first.process.pid}, works on folds/digits8/3-folds-seed-0" in second.words
    assert f"kill {first.process.pid}" in second.words
    assert first.end() == 0, first.words
    assert same_bytes(folder) == same_bytes(undisturbed.after("submit"))
    faults(2)


@pytest.mark.slow
def test_two_runs_may_prepare_the_same_data_at_once(undisturbed, tmp_path, faults):
    folder = copy(undisturbed.before("data"), tmp_path / "folder")
    both = [Run(folder, "data"), Run(folder, "data")]
    assert [run.end() for run in both] == [0, 0]
    assert same_bytes(folder) == same_bytes(undisturbed.after("data"))
    faults()
