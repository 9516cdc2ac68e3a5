"""Whatever was reported as finished survives a loss of power, and a run continues with what was on the disk."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from robustness.durable_files import DurableFiles, write_files
from robustness.traced_commands import RECORD, Call, CommandServer, Result, comparable_files

from competition.crossval.predictions import read_fold
from competition.files import sha256

pytestmark = pytest.mark.integration

SUBMIT = ("submit", "--competition", "digits8", "--folds", "2", "--jobs", "1", "--models", "knn linear")
FINISHED_FOLD = re.compile(r"^(\S+) fold (\d) took", re.M)
FINISHED_SUBMISSION = re.compile(r"now blends (.*?) \(", re.M)


@pytest.fixture
def faults(record_property):
    """Count the injected faults for the last line of the test report."""
    return lambda number=1: record_property("faults", number)


@pytest.fixture(scope="module")
def server() -> Iterator[CommandServer]:
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def recorded(server, competition_folder, tmp_path_factory) -> tuple[Path, Result]:
    """The folder before `submit`, and its recorded system calls."""
    root = tmp_path_factory.mktemp("recorded")
    for name in ("before", "after"):
        shutil.copytree(competition_folder, root / name / "data" / "digits8", ignore=shutil.ignore_patterns("cache"))
    result = server.run(root / "after", SUBMIT, RECORD)
    assert result.status == 0, result.output
    return root / "before", result


def replay(before: Path, result: Result) -> Iterator[tuple[Call, DurableFiles]]:
    """Each call of the run with the state of the disk after it."""
    disk = DurableFiles(before, result.folder)
    for call in result.calls():
        disk.replay(call)
        yield call, disk


def assert_finished(files: dict[str, bytes], printed: str, folder: Path) -> None:
    """What the run has printed as finished is in these files, complete and readable."""
    write_files(files, folder)
    for member, fold in FINISHED_FOLD.findall(printed):
        (path,) = folder.glob(f"folds/digits8/*/{member}/fold-{fold}.npz")
        read_fold(path)  # compares the checksum
        assert json.loads(path.with_suffix(".json").read_text())["seconds"] >= 0
        assert path.with_suffix(".skops").stat().st_size
    if blends := FINISHED_SUBMISSION.findall(printed):
        (entry,) = folder.glob("submissions/digits8/001-*")
        metadata = json.loads((entry / "metadata.json").read_text())
        assert sorted(metadata["members"]) == sorted(blends[-1].split(", "))
        rows = pd.read_csv(folder / "submissions" / "log.csv")
        assert rows["sha256"].tolist() == [metadata["sha256"]] == [sha256(entry / "submission.csv")]
        assert sha256(folder / "submissions" / "submission.csv") == metadata["sha256"]


@pytest.mark.parametrize("names_survive", [False, True])
def test_what_is_reported_as_finished_survives(names_survive, recorded, tmp_path, faults):
    before, result = recorded
    printed, reports = "", 0
    for call, disk in replay(before, result):
        if call.name == "write" and call.paths[0].suffix == ".output":
            printed += call.data.decode()
            reports += 1
            assert_finished(disk.survivors(names_survive), printed, tmp_path / f"{reports}")
    faults(reports)
    assert len(FINISHED_FOLD.findall(printed)) == 4 and len(FINISHED_SUBMISSION.findall(printed)) == 2


def surviving_states(before: Path, result: Result) -> list[dict[str, bytes]]:
    """The different states of the disk during the run."""
    states = []
    for call, disk in replay(before, result):
        if call.changes_files:
            for names_survive in (False, True):
                if (files := disk.survivors(names_survive)) not in states[-2:]:
                    states.append(files)
    return states


@pytest.mark.parametrize("number", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_a_run_continues_from_what_survives(number, server, recorded, tmp_path, faults):
    states = surviving_states(*recorded)
    seed = random.randrange(2**32)
    print(f"seed {seed}: {number or 'all'} of {len(states)} states")
    expected = comparable_files(recorded[1].folder)
    for index, files in enumerate(random.Random(seed).sample(states, number) if number else states):
        result = server.run(write_files(files, tmp_path / f"{index}"), SUBMIT)
        assert result.status == 0 and "Traceback" not in result.output, result.output
        assert comparable_files(result.folder) == expected
        faults()
