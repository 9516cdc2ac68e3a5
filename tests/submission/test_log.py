import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from competition.ensemble.blend import Blend
from competition.ensemble.blenders import WeightedMean
from competition.errors import UserError
from competition.files import sha256
from competition.scoring.metrics import ACCURACY, LOG_LOSS
from competition.scoring.standard_error import Score
from competition.submission import log as log_module
from competition.submission.log import RunSpec, SubmissionLog, git_state
from competition.views.terminal.submissions import compare_with_leaderboard, describe_entry

RUN = RunSpec("letters", "d1", "5-folds-seed-0", "s1", {"quick": "f1", "vgg:tutorial": "f2"}, "auto", "accuracy")


def blend(*members):
    oof, test = np.empty((42_000, 2)), np.empty((0, 2))
    weights = WeightedMean(np.full(len(members), 1 / len(members)), np.ones(len(members)))
    return Blend(members, "mean", weights, oof, test, Score(0.99, 0.001), Score(0.02, 0.001))


def submit(log, run, labels, *members):
    entry = log.get_or_create_entry(run)
    assert entry.folder.is_dir()
    entry.file.write_text("Id,Label\n" + "".join(f"{row},{label}\n" for row, label in enumerate(labels, 1)))
    log.save(entry, run, blend(*members), ACCURACY, Score(0.99, 0.001))
    return entry


@pytest.fixture
def log(tmp_path):
    return SubmissionLog(tmp_path / "submissions")


def test_a_resumed_run_keeps_its_number_and_a_new_run_gets_the_next(log):
    first = submit(log, RUN, "aab", "quick")
    again = submit(log, RUN, "abb", "quick", "vgg:tutorial")
    assert first.folder == again.folder and first.folder.name == "001-quick-vgg_tutorial"
    for change in (
        {"blend": "mean"},
        {"data": "d2"},
        {"metric": "QWK"},
        {"split_digest": "s2"},
        {"members": {"quick": "f9"}},
    ):
        submit(log, replace(RUN, **change), "abb", "quick")
    assert [entry.number for entry in log.entries("letters")] == [1, 2, 3, 4, 5, 6]
    assert submit(log, RUN, "abb", "quick").number == 1
    assert log.entry("letters").number == 6 and log.entry("letters", 2).number == 2


def test_each_competition_is_numbered_from_1(log):
    submit(log, RUN, "aab", "quick")
    assert submit(log, replace(RUN, competition="signs"), "a", "quick").number == 1


def test_concurrent_runs_get_different_numbers(log):
    runs = [replace(RUN, split=f"5-folds-seed-{seed}") for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        entries = list(pool.map(log.get_or_create_entry, runs))
    assert sorted(entry.number for entry in entries) == list(range(1, 13))
    assert [log.get_or_create_entry(run).number for run in runs] == [entry.number for entry in entries]
    assert log.entries("letters") == [] and submit(log, runs[3], "a", "quick") == entries[3]


KILLED_LOG = """
import os, signal, sys
from pathlib import Path
from competition.submission.log import Entry, RunSpec, SubmissionLog

class Killed(Entry):
    @property
    def claim_file(self):
        os.kill(os.getpid(), signal.SIGKILL)

import competition.submission.log as module
module.Entry = Killed
run = RunSpec("letters", "d1", "5-folds-seed-0", "s1", {"vgg": "f1"}, "auto", "accuracy")
SubmissionLog(Path(sys.argv[1])).get_or_create_entry(run)
"""


def test_a_run_that_is_killed_while_it_takes_a_number_wastes_none(log):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", KILLED_LOG, str(log.folder)], env=environment, check=False)
    assert result.returncode == -signal.SIGKILL and len(list((log.folder / "letters").iterdir())) == 1
    assert submit(log, RUN, "aab", "quick").number == 1
    assert [path.name for path in (log.folder / "letters").iterdir()] == ["001-quick-vgg_tutorial"]


def test_a_run_that_was_killed_after_it_wrote_the_metadata_is_completed(log):
    entry = submit(log, RUN, "aab", "quick")
    expected = sorted(log.folder.rglob("*"))
    entry.claim_file.write_text(RUN.digest)
    log.path.unlink()
    submit(log, RUN, "aab", "quick")
    assert sorted(log.folder.rglob("*")) == expected and log.read()["number"].tolist() == ["1"]


def test_the_default_entry_is_the_one_that_equals_submission_csv(log):
    first = submit(log, RUN, "aab", "quick")
    submit(log, replace(RUN, blend="mean"), "abb", "quick")
    assert log.entry("letters").number == 2
    (log.folder / "submission.csv").write_bytes(first.file.read_bytes())  # as the first run would, if repeated
    assert log.entry("letters").number == 1


def test_the_competition_of_submission_csv_is_known_by_its_bytes(log):
    assert log.current_competition() is None
    first = submit(log, RUN, "aab", "quick")
    submit(log, replace(RUN, competition="signs"), "abb", "quick")
    log.current_file.write_bytes(first.file.read_bytes())
    assert log.current_competition() == "letters"
    log.current_file.write_text("Id,Label\n")
    assert log.current_competition() is None


def test_a_recorded_score_belongs_to_the_bytes_the_metric_and_the_competition(log):
    digest = sha256(submit(log, RUN, "aab", "quick").file)
    submit(log, replace(RUN, competition="signs"), "aab", "quick")
    assert log.recorded_score("letters", digest, "accuracy", "leaderboard") is None
    log.record_score("letters", digest, "accuracy", "leaderboard", 0.0)
    assert log.recorded_score("letters", digest, "accuracy", "leaderboard") == 0
    for other in (
        ("signs", digest, "accuracy", "leaderboard"),
        ("letters", "0" * 64, "accuracy", "leaderboard"),
        ("letters", digest, "QWK", "leaderboard"),
        ("letters", digest, "accuracy", "held_back"),
    ):
        assert log.recorded_score(*other) is None


def test_concurrent_runs_lose_no_row(log):
    runs = [replace(RUN, competition=f"letters{number}") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda run: submit(log, run, "aab", "quick"), runs))
    assert set(log.read()["competition"]) == {run.competition for run in runs}


def test_metadata_names_different_labels_and_identical_submissions(log):
    submit(log, RUN, "aab", "quick")
    other = submit(log, replace(RUN, blend="mean"), "abc", "quick")
    assert other.metadata["differs_from_previous"] == {"rows": 2, "examples": ["2: a -> b", "3: b -> c"]}
    same = submit(log, replace(RUN, blend="convex"), "aab", "quick")
    assert same.metadata["identical_to"] == [1] and "identical to submission 1" in describe_entry(same)
    assert same.metadata["run"]["members"] == RUN.members and same.metadata["members"] == {"quick": 1.0}


def test_a_score_is_dropped_when_the_submission_changes(log):
    entry = submit(log, RUN, "aab", "quick")
    submit(log, replace(RUN, blend="mean"), "abb", "quick")
    assert log.record_score("letters", sha256(entry.file), "accuracy", "leaderboard", 0.9975) == [1]
    assert log.read()["leaderboard"].tolist() == ["0.997500", ""]
    submit(log, RUN, "aab", "quick")
    assert log.read().set_index("number").loc["1", "leaderboard"] == "0.997500"
    submit(log, RUN, "ccc", "quick")
    assert log.read().set_index("number").loc["1", "leaderboard"] == ""


def test_metadata_is_json(log):
    entry = submit(log, RUN, "aab", "quick")
    assert json.loads((entry.folder / "metadata.json").read_text())["accuracy"] == [0.99, 0.001]


def test_a_missing_submission_is_an_error(log):
    with pytest.raises(UserError, match="letters has no submission yet; run `make submit COMPETITION=letters`"):
        log.entry("letters")
    submit(log, RUN, "aab", "quick")
    with pytest.raises(UserError, match="letters has no submission 7; choose 1, the only one"):
        log.entry("letters", 7)
    submit(log, replace(RUN, blend="mean"), "abb", "quick")
    with pytest.raises(UserError, match="letters has no submission 7; choose a number from 1 to 2"):
        log.entry("letters", 7)


def test_the_code_of_a_submission_is_restored_by_its_commit_if_one_was_recorded(log, monkeypatch):
    monkeypatch.setattr("competition.submission.log.git_state", lambda: {"commit": "abc", "edited": False})
    assert submit(log, RUN, "aab", "quick").restore_remedy == "restore the code: git checkout abc"
    monkeypatch.setattr("competition.submission.log.git_state", dict)
    entry = submit(log, replace(RUN, blend="mean"), "aab", "quick")
    assert entry.restore_remedy == f"restore the code of {entry.metadata['when']} (no commit was recorded)"


@pytest.mark.integration
def test_edits_anywhere_in_the_package_are_noticed(tmp_path):
    shutil.copytree(ROOT / "competition", tmp_path / "competition", ignore=shutil.ignore_patterns("__pycache__"))

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True).stdout.strip()

    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init",), ("add", "competition"), (*author, "commit", "--message", "test")):
        run("git", *arguments)
    program = "from competition.submission.log import git_state; print(git_state()['edited'])"
    states = []
    for _ in range(2):
        states.append(run(sys.executable, "-B", "-c", program))  # bytecode would be an edit, too
        with (tmp_path / "competition" / "models" / "zoo" / "quick.py").open("a") as file:
            file.write("# edited\n")
    assert states == ["False", "True"]


def test_the_commit_of_another_repository_around_the_installed_package_is_not_recorded(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "competition"
    (package / "submission").mkdir(parents=True)
    (package / "__init__.py").touch()
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init",), (*author, "commit", "--allow-empty", "--message", "test")):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)
    monkeypatch.setattr(log_module, "__file__", str(package / "submission" / "log.py"))
    assert git_state() == {}


def test_the_remedy_for_damaged_metadata_names_the_competition(log):
    entry = submit(log, RUN, "aab", "quick")
    entry.metadata_file.write_text("{}")
    with pytest.raises(UserError, match="run the same `make submit COMPETITION=letters` again: rm "):
        _ = entry.metadata


def test_the_leaderboard_score_is_compared_with_cross_validation(log):
    entry = submit(log, replace(RUN, competition="digit-recognizer"), "aab", "quick")
    assert compare_with_leaderboard(entry, ACCURACY, 0.9905, 28_000).endswith("not significant")
    assert "check for a distribution shift" in compare_with_leaderboard(entry, ACCURACY, 0.98, 28_000)
    assert "check for a leak" in compare_with_leaderboard(entry, ACCURACY, 0.9990, 28_000)
    other = submit(log, RUN, "aab", "quick")
    assert "leak" not in compare_with_leaderboard(other, ACCURACY, 0.9990, 28_000)


def test_a_score_is_recorded_only_for_submissions_with_the_same_metric(log):
    for run, metric in ((RUN, ACCURACY), (replace(RUN, metric="log loss"), LOG_LOSS)):
        entry = log.get_or_create_entry(run)
        assert entry.folder.is_dir()
        entry.file.write_text("Id,Label\n1,a\n")
        log.save(entry, run, blend("quick"), metric, Score(0.5, 0.01))
    assert log.record_score("letters", sha256(entry.file), "log loss", "held_back", 0.02) == [2]
    assert log.read()["held_back"].tolist() == ["", "0.020000"]


def test_most_probable_classes_are_compared_between_submissions(log, tmp_path):
    for number, run in enumerate((RUN, replace(RUN, blend="mean"))):
        entry = log.get_or_create_entry(run)
        assert entry.folder.is_dir()
        entry.file.write_text(f"Id,a,b\n1,0.{number + 7},0.{3 - number}\n2,0.{4 + 2 * number},0.{6 - 2 * number}\n")
        log.save(entry, run, blend("quick"), ACCURACY, Score(0.99, 0.001))
    assert entry.metadata["differs_from_previous"] == {"rows": 1, "examples": ["2: b -> a"]}


def test_the_largest_difference_between_submissions_is_recorded_for_regression(log):
    for number, run in enumerate((RUN, replace(RUN, blend="mean"))):
        entry = log.get_or_create_entry(run)
        entry.file.write_text(f"Id,Label\n1,{number + 2.5}\n2,{3 * number}\n")
        log.save(entry, run, blend("quick"), ACCURACY, Score(0.99, 0.001))
    assert entry.metadata["differs_from_previous"] == {"largest": 3.0}
    assert "largest difference from the previous submission: 3" in describe_entry(entry)


@pytest.mark.parametrize(("old", "new", "rows"), [("cat", "0.25", 1), ("2.5D", "3.0D", 1), ("0.50", "0.5", None)])
def test_only_numbers_have_a_largest_difference(old, new, rows, log):
    for text, run in ((old, RUN), (new, replace(RUN, blend="mean"))):
        entry = log.get_or_create_entry(run)
        entry.file.write_text(f"Id,Label\n1,{text}\n")
        log.save(entry, run, blend("quick"), ACCURACY, Score(0.99, 0.001))
    expected = {"largest": 0.0} if rows is None else {"rows": rows, "examples": [f"1: {old} -> {new}"]}
    assert entry.metadata["differs_from_previous"] == expected
    assert "from the previous submission" in describe_entry(entry)


def test_the_number_of_a_removed_submission_is_not_used_again(log):
    submit(log, RUN, "aab", "quick")
    removed = submit(log, replace(RUN, blend="mean"), "abb", "quick")
    log.record_score("letters", removed.digest, "accuracy", "leaderboard", 0.5)
    shutil.rmtree(removed.folder)
    assert submit(log, replace(RUN, blend="convex"), "bbb", "quick").number == 3
    assert log.read()["leaderboard"].tolist() == ["", "0.500000", ""]
    assert [entry.number for entry in log.entries("letters")] == [1, 3]


def test_a_row_that_was_lost_is_added_from_the_metadata(log):
    first = submit(log, RUN, "aab", "quick")
    log.record_score("letters", first.digest, "accuracy", "leaderboard", 0.5)
    content = log.path.read_bytes()
    second = submit(log, replace(RUN, blend="mean"), "abb", "quick")
    log.path.write_bytes(content)  # as if the run was killed before it wrote the row
    assert log.read()["number"].tolist() == ["1", "2"]
    assert log.record_score("letters", second.digest, "accuracy", "leaderboard", 0.25) == [2]
    assert log.read()["leaderboard"].tolist() == ["0.500000", "0.250000"]


def test_folders_whose_names_do_not_begin_with_a_number_are_ignored(log):
    submit(log, RUN, "aab", "quick")
    for name in ("2nd-try", "007", "x-1"):
        (log.folder / "letters" / name).mkdir()
        (log.folder / "letters" / name / "metadata.json").write_text("{}")
    assert submit(log, replace(RUN, blend="mean"), "abb", "quick").number == 2
    assert len(log.read()) == 2 and [entry.number for entry in log.entries("letters")] == [1, 2]


@pytest.mark.parametrize("content", [None, "", "Id,Label\n1,a\n", 'Id,Label\n1,"a\n'])
def test_a_file_that_its_metadata_do_not_describe_is_refused_and_not_compared_with(content, log):
    entry = submit(log, RUN, "aab", "quick")
    entry.require_intact()
    if content is None:
        entry.file.unlink()
    else:
        entry.file.write_text(content)
    reason = "submission.csv is not the file that its metadata describe; run the same `make submit COMPETITION=letters`"
    with pytest.raises(UserError, match=re.escape(reason)):
        entry.require_intact()
    later = submit(log, replace(RUN, blend="mean"), "abb", "quick")
    assert later.metadata["differs_from_previous"] is None and later.metadata["identical_to"] == []
    submit(log, RUN, "aab", "quick").require_intact()


@pytest.mark.parametrize(
    "change",
    [
        {"score": 1.0}, {"score": [0.5]}, {"score": ["0.5", "0.1"]}, {"score": [0.5, None]}, {"members": 1},
        {"members": ["quick"]}, {"git": None}, {"git": [1]}, {"run": {}}, {"run_digest": ""},
    ],
)  # fmt: skip
def test_metadata_of_other_types_are_damaged(change, log):
    entry = submit(log, RUN, "aab", "quick")
    entry.metadata_file.write_text(json.dumps(entry.metadata | change))
    with pytest.raises(UserError, match=r"metadata\.json is damaged"):
        _ = entry.metadata
    entry.metadata_file.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"metadata\.json is damaged"):
        _ = entry.metadata


def test_a_row_with_too_many_values_is_damage(log):
    submit(log, RUN, "aab", "quick")
    header, row = log.path.read_text().splitlines()
    log.path.write_text(f"{header}\nx,{row}\n")
    with pytest.raises(UserError, match=r"log\.csv is damaged"):
        log.read()
