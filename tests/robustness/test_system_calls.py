"""Each system call by which a command changes its files fails once, or the process is killed there: nothing is lost."""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from robustness.traced_commands import TRACE, Call, CommandServer, Result, comparable_files, inject

pytestmark = pytest.mark.integration

SPLIT = ("--competition", "digits8", "--folds", "2")
TRAINING = (*SPLIT, "--jobs", "1", "--models")
EXPORTED = "folds/digits8/2-folds-seed-0/knn"
COMMANDS = {
    "data": ("data", *SPLIT[:2]),
    "cv": ("cv", *TRAINING, "knn"),
    "train": ("cv", *TRAINING, "knn linear"),
    "submit": ("submit", *TRAINING, "knn linear"),
    "export": ("export", *SPLIT, "--models", "knn"),
    "import": ("import", *SPLIT, "--name", "theirs", "--oof", f"{EXPORTED}/oof.csv", "--test", f"{EXPORTED}/test.csv"),
    "grade": ("grade", *SPLIT[:2]),
    "record-score": ("record-score", *SPLIT[:2], "--value", "0.97"),
    "tune": ("tune", *TRAINING, "knn", "--trials", "2"),
}
BEFORE = {  # the command that makes the folder which a command starts with
    "cv": "data",
    "train": "data",
    "submit": "train",
    "export": "train",
    "import": "export",
    "grade": "submit",
    "record-score": "submit",
    "tune": "data",
}
TESTED = ("data", "cv", "submit", "import", "grade", "record-score", "tune")
SCRATCH = ".temporary/.foldblend."
MAX_FAULTS = 100  # of one kind; only `tune` has more possible ones, in SQLite
# Drivers draw different samples, so that `tune` may accept hyperparameters, and show plots, in one run only.
RANDOM_FILES = ("folds/digits8/parameters", "folds/digits8/tuning")
N_UNDISTURBED = {"tune": 3}  # runs, of which the shortest is recorded: the others make its calls, too
# joblib removes its semaphores as the process ends. They are in memory, which does not fail together with a disk, but
# here each later call of the same name fails.
SEMAPHORES = re.compile(
    r"(?:Exception ignored in: <Finalize object, dead>\n)?"
    r"Traceback \(most recent call last\):\n(?:(?!Traceback)[^\n]*\n)*?    sem_unlink.*\nOSError.*\n"
)
FAILS, FAILS_FOR_GOOD, KILLED = "error=EIO", "error=EIO+", "signal=KILL"
FULL, FORBIDDEN, INTERRUPTED, NO_LOCKS = "error=ENOSPC", "error=EACCES", "error=EINTR", "error=ENOLCK"
FAULTS = {
    "openat": (FAILS, FULL, FORBIDDEN, INTERRUPTED, KILLED),
    "write": (FAILS, FULL, INTERRUPTED, KILLED),
    "pwrite64": (FAILS, FULL, KILLED),
    "fsync": (FAILS, FAILS_FOR_GOOD, FULL, INTERRUPTED, KILLED),
    "fdatasync": (FAILS, KILLED),
    "ftruncate": (FAILS, KILLED),
    "rename": (FAILS, FAILS_FOR_GOOD, FULL, KILLED),
    "unlink": (FAILS, FAILS_FOR_GOOD, KILLED),
    "mkdir": (FAILS, FAILS_FOR_GOOD, FULL, FORBIDDEN, KILLED),
    "rmdir": (FAILS, KILLED),
    "flock": (FAILS, NO_LOCKS, INTERRUPTED, KILLED),
}


@pytest.fixture
def faults(record_property):
    """Count the injected faults for the last line of the test report."""
    return lambda number=1: record_property("faults", number)


class Commands:
    """Runs commands in copies of the folders which they start with; each of these is made when first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = CommandServer()
        self._undisturbed: dict[str, Result] = {}

    def start_folder(self, command: str, name: str) -> Path:
        """A new folder in which the command may run."""
        folder = self.root / f"{command} {name}"
        if command in BEFORE:
            shutil.copytree(self.undisturbed(BEFORE[command]).folder, folder)
            if command == "record-score":  # of competitions on Kaggle, not of practice
                shutil.rmtree(folder / "data" / "digits8" / "held_back")
            return folder
        folder.mkdir()
        return folder

    def undisturbed(self, command: str) -> Result:
        """The command without faults, with its recorded system calls."""
        if command not in self._undisturbed:
            results = [self._run_undisturbed(command, number) for number in range(N_UNDISTURBED.get(command, 1))]
            self._undisturbed[command] = min(results, key=lambda result: len(result.calls()))
        return self._undisturbed[command]

    def _run_undisturbed(self, command: str, number: int) -> Result:
        folder = self.start_folder(command, f"undisturbed {number}")
        result = self.server.run(folder, COMMANDS[command], TRACE)
        assert result.status == 0, result.output
        return result


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.server.close()


@dataclass(frozen=True)
class Fault:
    """A fault of the system at a call."""

    call: Call
    kind: str


def is_own(call: Call, result: Result) -> bool:
    """Whether the call changes the run's folder or its temporary files; not those by which Python tries a folder."""
    own = any(path.is_relative_to(result.folder) or SCRATCH in str(path) for path in call.paths)
    return call.changes_files and own


def possible_faults(result: Result) -> list[Fault]:
    """All faults at the calls of the run that change its files."""
    return [Fault(call, kind) for call in result.calls() if is_own(call, result) for kind in FAULTS[call.name]]


def find_problem(commands: Commands, command: str, fault: Fault, number: int) -> str | None:
    """Run the command with the fault, then without; return what is wrong, or None.

    Raises LookupError if the fault struck another call than in the undisturbed run.
    """
    folder = commands.start_folder(command, f"{number}")
    try:
        result = commands.server.run(folder, COMMANDS[command], inject(fault.call, fault.kind))
        struck = [call for call in result.calls() if call.is_injected or call.result == -1]
        if not (struck and any(is_own(call, result) for call in struck[-1:] + [c for c in struck if c.is_injected])):
            raise LookupError
        if problem := find_bad_end(result, fault):
            return problem
        rerun = commands.server.run(folder, COMMANDS[command])
        if rerun.status or "Traceback" in rerun.output:
            return f"the rerun ended with {rerun.status}: {rerun.output}"
        return find_difference(comparable_files(folder), comparable_files(commands.undisturbed(command).folder), rerun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(f"{folder}.temporary", ignore_errors=True)


def find_bad_end(result: Result, fault: Fault) -> str | None:
    """What is wrong with the end of a run with a fault."""
    if fault.kind == KILLED:
        return None if result.status == -9 else f"status {result.status} instead of being killed"
    output = SEMAPHORES.sub("", result.output)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    if "Traceback" in output or "Exception" in output:
        return f"a traceback: {output}"
    if result.status not in (0, 1) or len(errors) != result.status:
        return f"status {result.status} and {len(errors)} errors: {result.output}"
    if errors and not (errors[0].startswith(("error: cannot ", "error: the study database ")) and "; " in errors[0]):
        return f"an unclear error: {errors[0]}"
    return None


def find_difference(actual: dict[str, object], expected: dict[str, object], rerun: Result) -> str | None:
    """How the files differ from those of an undisturbed run."""
    if left := [path.name for path in rerun.temporary.iterdir()]:
        return f"left in the temporary folder: {left}"
    names = [name for name in sorted(actual.keys() | expected.keys()) if not name.startswith(RANDOM_FILES)]
    different = [name for name in names if (name in actual, actual.get(name)) != (name in expected, expected.get(name))]
    return f"different after the rerun: {different}" if different else None


def try_faults(commands: Commands, command: str, choose: Callable[[list[Fault]], list[Fault]]) -> int:
    """Try the chosen faults; return their number, or fail with a list of all problems."""
    chosen = choose(possible_faults(commands.undisturbed(command)))
    problems, missed = [], 0
    for number, fault in enumerate(chosen):
        try:
            problem = find_problem(commands, command, fault, number)
        except LookupError:
            missed += 1
            continue
        if problem:
            where = " -> ".join(path.name for path in fault.call.paths)
            problems.append(f"{fault.kind} at {fault.call.name} {fault.call.ordinal} of {where}: {problem}")
    assert not problems, f"{len(problems)} of {len(chosen) - missed} faults\n" + "\n".join(problems)
    assert missed <= len(chosen) / 5, f"{missed} of {len(chosen)} faults struck other calls"
    return len(chosen) - missed


@pytest.mark.parametrize("command", ["cv", "submit"])
def test_a_few_faults_lose_nothing(command, commands, faults):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    faults(try_faults(commands, command, lambda possible: random.Random(seed).sample(possible, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({kind for kinds in FAULTS.values() for kind in kinds}))
@pytest.mark.parametrize("command", TESTED)
def test_no_fault_loses_anything(command, kind, commands, faults):
    def choose(possible: list[Fault]) -> list[Fault]:
        of_kind = [fault for fault in possible if fault.kind == kind]
        return random.Random(seed).sample(of_kind, min(MAX_FAULTS, len(of_kind)))

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    faults(try_faults(commands, command, choose))
