"""The whole road through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from io import StringIO
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, wait_until

from competition.submission.log import Origin

SMALL = ("--competition", "digits8", "--folds", "2", "--jobs", "2")


def stored(folder) -> dict[str, bytes]:
    """The bytes that have to be equal between equal runs."""
    files = [
        *folder.glob("folds/**/*.npz"),
        *folder.glob("folds/**/*.csv"),
        *folder.glob("submissions/**/submission.csv"),
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_cv_submit_grade(command, tmp_path):
    done = command("cv", *SMALL, "--models", "mlp", "knn", "svm")
    assert done.returncode == 0, done.stderr
    assert all(f"{name} fold 1 took" in done.stdout for name in ("mlp", "knn", "svm"))
    done = command("submit", *SMALL, "--models", "mlp", "knn", "svm")
    assert done.returncode == 0, done.stderr
    assert " took " not in done.stdout and "hill-climbing" in done.stdout
    page = tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "report.html"
    assert "digits8: " in page.read_text()[:400] and "report.html shows it" in done.stdout
    done = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    predicted = pd.read_csv(StringIO(done.stdout))
    submitted = pd.read_csv(tmp_path / "submissions" / "submission.csv")
    assert (predicted["label"] == submitted["Label"]).all(), done.stderr
    for place in ("submission.csv", "digits8/001-mlp-knn-svm/submission.csv"):
        assert len(pd.read_csv(tmp_path / "submissions" / place)) == 200
    done = command("grade", "--competition", "digits8")
    assert done.returncode == 0, done.stderr
    accuracy = float(done.stdout.split("±")[0].split()[-1])
    assert accuracy > 94 and "opened 1 times" in done.stdout


def test_a_run_that_was_stopped_is_reproduced_as_far_as_it_went(command, tmp_path):
    asked = command("submit", *SMALL, "--models", "knn", "knn:pixels")
    assert asked.returncode == 0, asked.stderr
    for path in (tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "knn:pixels").glob("fold-*"):
        path.unlink()
    card = tmp_path / "submissions" / "digits8" / "001-knn-knn_pixels" / "card.json"
    only = command("submit", *SMALL, "--models", "knn")
    told, first = (json.loads(path.read_text()) for path in (card, card.parents[1] / "002-knn" / "card.json"))
    stopped = {**told, **{name: first[name] for name in ("members", "blender", "score", "sha256")}}
    card.write_text(json.dumps(stopped))  # as it was when knn was complete and the other was not
    done = command("reproduce", "--competition", "digits8", "--number", "1")
    assert only.returncode == 0 and "byte for byte, from the predictions" in done.stdout, done.stderr


def test_what_is_asked_of_a_submission_is_not_answered_by_others(command, tmp_path):
    assert command("submit", *SMALL, "--models", "knn").returncode == 0
    adopted = tmp_path / "folds" / "digits8" / "parameters" / "knn.json"
    adopted.parent.mkdir()
    adopted.write_text('{"settings": {"neighbours": 9}}')
    done = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    assert done.returncode == 2 and "001-knn was made when knn was another; " in done.stderr


def test_a_submission_is_numbered_reproduced_and_scored(command, tmp_path):
    assert "submission 1: " in command("submit", *SMALL, "--models", "knn").stdout
    assert "submission 1: " in command("submit", *SMALL, "--models", "knn").stdout
    done = command("submit", *SMALL, "--models", "svm", "--blend", "mean")
    assert "submission 2: " in done.stdout and "labels differ from the submission before, such as" in done.stdout
    place = ("--competition", "digits8", "--number", "2")
    done = command("reproduce", *place)
    assert done.returncode == 0 and "byte for byte, from the predictions that are kept" in done.stdout, done.stderr
    done = command("score", *place, "--value", "0.9")
    assert done.returncode == 0 and "90.000 ± 0.949 % on the leaderboard" in done.stdout, done.stderr
    (tmp_path / "data" / "digits8" / "competition.toml").write_text("public = 0.25")
    assert "90.000 ± 1.897 % on the leaderboard" in command("score", *place, "--value", "0.9").stdout
    assert command("grade", "--competition", "digits8").returncode == 0
    ledger = pd.read_csv(tmp_path / "submissions" / "ledger.csv")
    assert ledger["number"].tolist() == [1, 2] and ledger["leaderboard"].tolist()[1] == 0.9
    assert np.isnan(ledger["sealed"][0]) and ledger["sealed"][1] > 0.5
    file = tmp_path / "submissions" / "digits8" / "002-svm" / "submission.csv"
    card = file.with_name("card.json")
    told = json.loads(card.read_text())
    told["origin"]["members"] = {"svm": "another"}
    card.write_text(json.dumps(told | {"origin_digest": Origin(**told["origin"]).digest}))
    done = command("reproduce", *place)
    assert done.returncode == 2 and "was made from other data, recipes or code; go back to it: git" in done.stderr


@pytest.mark.slow
def test_what_was_exported_comes_back_as_a_member(command, tmp_path):
    done = command("export", *SMALL[:4], "--models", "knn")
    assert done.returncode == 2 and "knn is not complete; run `make cv MODELS=knn`" in done.stderr
    assert command("cv", *SMALL, "--models", "knn").returncode == 0
    oof, test = command("export", *SMALL[:4], "--models", "knn").stdout.split()[:2]
    done = command("import", "theirs", *SMALL[:4], "--oof", oof, "--test", test)
    assert done.returncode == 0 and "@theirs: " in done.stdout, done.stderr
    done = command("submit", *SMALL, "--models", "knn", "@theirs", "--blend", "mean")
    assert done.returncode == 0 and "weights: @theirs 0.50, knn 0.50" in done.stdout, done.stderr


def test_submit_again_trains_nothing_and_changes_nothing(command, tmp_path):
    assert command("submit", *SMALL, "--models", "knn", "svm").returncode == 0
    before, ledger = stored(tmp_path), (tmp_path / "submissions" / "ledger.csv").read_bytes()
    done = command("submit", *SMALL, "--models", "knn", "svm")
    assert done.returncode == 0 and "folds to train" not in done.stdout
    assert stored(tmp_path) == before and (tmp_path / "submissions" / "ledger.csv").read_bytes() == ledger


def test_a_users_mistake_is_one_line_and_status_2(command, own_competition):
    for arguments, message in (
        (("data", "--competition", "nothing"), "error: data/nothing has no competition"),
        (("cv", *SMALL, "--models", "all", "quick"), "error: no model 'all'; choose from"),
        (("cv", *SMALL, "--models", "resnet"), "error: no model 'resnet'"),
        (("submit", *SMALL, "--blend", "median"), "error: no blender 'median'; choose from auto"),
        (("report", *SMALL[:4], "--models", "knn"), "error: none of knn is complete; run `make cv"),
        (
            ("grade", "--competition", "digits8"),
            "error: digits8 has no submission yet; run `make submit COMPETITION=digits8`",
        ),
        (("cv", "--competition", "digits8", "--folds", "1"), "error: 1 folds leave nothing to train on"),
    ):
        done = command(*arguments)
        assert done.returncode == 2 and done.stderr.startswith(message) and done.stderr.count("\n") == 1, done.stderr


def test_help_is_quick_and_tells_of_every_command(command):
    start = time.monotonic()
    text = command("--help").stdout
    assert time.monotonic() - start < 1
    assert all(f"    {name} " in text for name in ("data", "cv", "submit", "grade"))
    assert "--models" in command("cv", "--help").stdout


def test_a_budget_begins_nothing_that_it_cannot_finish(command, tmp_path):
    done = command("submit", *SMALL, "--models", "knn", "vgg:tutorial", "--jobs", "1", "--budget", "20s")
    assert done.returncode == 0, done.stderr
    assert "vgg:tutorial is left out: it needs" in done.stdout and "submission 1: " in done.stdout
    assert not list(tmp_path.glob("folds/*/*/vgg:tutorial/*.npz"))


def test_a_run_ends_when_its_budget_does(command, tmp_path):
    start = time.monotonic()
    done = command("cv", *SMALL, "--models", "mlp", "lenet", "--budget", "1s")
    assert done.returncode == 0 and time.monotonic() - start < 15
    assert "the time is up" in done.stdout or "is left out" in done.stdout


def test_what_is_left_alone_is_told_and_nothing_else(command, own_competition):
    train = pd.read_csv(own_competition / "train.csv")
    ids = pd.DataFrame({"IMAGEID": np.arange(len(train)) + 1})  # the sample writes it otherwise
    pd.concat([ids, train], axis=1).to_csv(own_competition / "train.csv", index=False)
    done = command("data", "--competition", "digits8")
    assert done.returncode == 0 and "left alone" not in done.stdout, done.stderr


@pytest.mark.parametrize("text", ["20", "soon", "0m", ""])
def test_what_is_no_duration_is_told(text, command):
    done = command("submit", *SMALL, "--budget", text)
    assert done.returncode == 2 and "is no duration; write such as 20m or 1h30m" in done.stderr


@pytest.mark.slow
def test_tune_adopts_what_is_proved_and_cv_takes_it(command, tmp_path, own_competition):
    softened = tmp_path / "folds" / "digits8" / "parameters" / "svm.json"
    softened.parent.mkdir(parents=True)
    softened.write_text('{"settings": {"c": 0.01}}')
    tuned = command("tune", "--competition", "digits8", "--models", "svm", "--trials", "6")
    assert tuned.returncode == 0, tuned.stderr
    adopted = json.loads(softened.read_text())
    assert adopted["settings"]["c"] > 0.1 and adopted["p_value"] < adopted["needed"]
    assert adopted["difference"] < 0 and adopted["study"].startswith("digits8 svm 5-folds-seed-0")
    assert adopted["log_loss"] < adopted["present"] and adopted["trial"] > 0 and adopted["date"] == str(date.today())
    page = tmp_path / "folds" / "digits8" / "tuning" / "svm.html"  # where at least three trials are complete
    assert "svm: adopted" in tuned.stdout and page.exists() is ("svm.html shows the search" in tuned.stdout)
    trained = command("cv", "--competition", "digits8", "--folds", "2", "--models", "svm")
    assert "svm has the settings of folds/digits8/parameters/svm.json" in trained.stdout
    again = command("tune", "--competition", "digits8", "--models", "svm", "--trials", "6")
    assert "svm trial" not in again.stdout, "finished trials were run again"


def test_tune_says_when_there_is_nothing_to_tune_or_no_time(command):
    assert "name models without a seed" in command("tune", "--competition", "digits8", "--models", "knn.1").stderr
    hasty = command("tune", "--competition", "digits8", "--models", "quick", "--budget", "1s")
    assert hasty.returncode == 0 and "quick: nothing better was found in 0 trials; the 30 others and" in hasty.stdout


@pytest.mark.slow
def test_the_dashboard_shows_the_studies(command, tmp_path, own_competition):
    assert "make tune" in command("dashboard", "--competition", "digits8").stderr
    assert command("tune", "--competition", "digits8", "--models", "knn", "--trials", "2").returncode == 0
    arguments = [sys.executable, "-m", "competition", "dashboard", "--competition", "digits8"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as server:
        studies = None

        def answers():
            nonlocal studies
            try:
                with urlopen("http://127.0.0.1:8080/api/studies") as answer:
                    studies = json.load(answer)["study_summaries"]
            except URLError:
                return False
            return True

        wait_until(answers)
        server.send_signal(signal.SIGINT)
    assert any(study["study_name"].startswith("digits8 knn 5-folds-seed-0") for study in studies)
