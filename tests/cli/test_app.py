"""The commands, run as a user runs them."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import date
from io import StringIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, wait_until

from competition.cli.app import command as command_of
from competition.cli.app import create_app, run
from competition.submission.log import RunSpec

SPLIT = ("--competition", "digits8", "--folds", "2")
SMALL = (*SPLIT, "--jobs", "2")


def read_outputs(folder) -> dict[str, bytes]:
    """The files that must be identical after identical runs."""
    files = [
        *folder.glob("folds/**/*.npz"),
        *folder.glob("folds/**/*.csv"),
        *folder.glob("submissions/**/submission.csv"),
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.integration
def test_digits_are_cross_validated_submitted_predicted_and_graded(command, tmp_path):
    result = command("cv", *SMALL, "--models", "mlp knn svm")
    assert result.returncode == 0, result.stderr
    assert all(f"{name} fold 1 took" in result.stdout for name in ("mlp", "knn", "svm"))
    result = command("submit", *SMALL, "--models", "mlp knn svm")
    assert result.returncode == 0, result.stderr
    assert " took " not in result.stdout and "hill-climbing" in result.stdout
    page = tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "report.html"
    assert "digits8: " in page.read_text()[:400] and "report.html (open it in a browser)" in result.stdout
    result = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    predicted = pd.read_csv(StringIO(result.stdout))
    submitted = pd.read_csv(tmp_path / "submissions" / "submission.csv")
    assert (predicted["label"] == submitted["Label"]).all(), result.stderr
    for file in ("submission.csv", "digits8/001-mlp-knn-svm/submission.csv"):
        assert len(pd.read_csv(tmp_path / "submissions" / file)) == 200
    result = command("grade", "--competition", "digits8")
    assert result.returncode == 0, result.stderr
    accuracy = float(result.stdout.split("±")[0].split()[-1])
    assert accuracy > 94 and "evaluations on the held-back labels so far: 1" in result.stdout


@pytest.mark.integration
def test_an_interrupted_run_is_reproduced_with_its_complete_members(command, tmp_path):
    both = command("submit", *SMALL, "--models", "knn knn:pixels")
    assert both.returncode == 0, both.stderr
    for path in (tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "knn:pixels").glob("fold-*"):
        path.unlink()
    metadata = tmp_path / "submissions" / "digits8" / "001-knn-knn_pixels" / "metadata.json"
    single = command("submit", *SMALL, "--models", "knn")
    single_metadata = metadata.parents[1] / "002-knn" / "metadata.json"
    complete, partial = (json.loads(path.read_text()) for path in (metadata, single_metadata))
    interrupted = {**complete, **{name: partial[name] for name in ("members", "blender", "score", "sha256")}}
    metadata.write_text(json.dumps(interrupted))  # as if only knn had been completed
    result = command("reproduce", "--competition", "digits8", "--number", "1")
    assert single.returncode == 0 and "byte for byte, from the stored predictions" in result.stdout, result.stderr


@pytest.mark.integration
def test_predict_rejects_a_submission_whose_member_has_changed(command, tmp_path):
    assert command("submit", *SMALL, "--models", "knn").returncode == 0
    tuned = tmp_path / "folds" / "digits8" / "parameters" / "knn.json"
    tuned.parent.mkdir()
    tuned.write_text('{"hyperparameters": {"n_neighbors": 9}}')
    result = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    assert result.returncode == 2 and "001-knn: knn has changed since this submission was made; " in result.stderr
    assert "run `make submit MODELS=knn COMPETITION=digits8 FOLDS=2`" in result.stderr


@pytest.mark.integration
def test_predict_rejects_a_submission_by_a_blender_that_was_removed(command, tmp_path):
    assert command("submit", *SMALL, "--models", "knn").returncode == 0
    metadata = tmp_path / "submissions" / "digits8" / "001-knn" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"blender": "mean"', '"blender": "geometric"'))
    result = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    assert result.returncode == 2 and "001-knn: the submission's blender, geometric, was removed; " in result.stderr
    assert "run `make submit MODELS=knn COMPETITION=digits8 FOLDS=2`" in result.stderr


@pytest.mark.integration
def test_a_submission_is_numbered_reproduced_and_scored(command, tmp_path):
    assert "submission 1: " in command("submit", *SMALL, "--models", "knn").stdout
    assert "submission 1: " in command("submit", *SMALL, "--models", "knn").stdout
    result = command("submit", *SMALL, "--models", "svm", "--blend", "mean")
    assert "submission 2: " in result.stdout and "labels differ from the previous submission, e.g." in result.stdout
    submission = ("--competition", "digits8", "--number", "2")
    result = command("reproduce", *submission)
    assert result.returncode == 0 and "byte for byte, from the stored predictions" in result.stdout, result.stderr
    held_back = tmp_path / "data" / "digits8" / "held_back"
    held_back.rename(tmp_path / "elsewhere")  # as in a competition on Kaggle
    result = command("record-score", *submission, "--value", "0.9")
    assert result.returncode == 0 and "90.000 ± 0.949 % on the leaderboard" in result.stdout, result.stderr
    (tmp_path / "data" / "digits8" / "competition.toml").write_text("public = 0.25")
    assert "90.000 ± 1.897 % on the leaderboard" in command("record-score", *submission, "--value", "0.9").stdout
    (tmp_path / "elsewhere").rename(held_back)
    assert command("grade", "--competition", "digits8").returncode == 0
    log = pd.read_csv(tmp_path / "submissions" / "log.csv")
    assert log["number"].tolist() == [1, 2] and log["leaderboard"].tolist()[1] == 0.9
    assert np.isnan(log["held_back"][0]) and log["held_back"][1] > 0.5
    file = tmp_path / "submissions" / "digits8" / "002-svm" / "submission.csv"
    metadata = file.with_name("metadata.json")
    changed = json.loads(metadata.read_text())
    changed["run"]["members"] = {"svm": "another"}
    metadata.write_text(json.dumps(changed | {"run_digest": RunSpec(**changed["run"]).digest}))
    result = command("reproduce", *submission)
    assert (
        result.returncode == 2
        and "data, recipes or code have changed since; restore the data, or restore the code" in result.stderr
    )


@pytest.mark.slow
def test_exported_predictions_can_be_imported_as_a_member(command, tmp_path):
    result = command("export", *SPLIT, "--models", "knn")
    assert (
        result.returncode == 2
        and "knn is not complete; run `make cv MODELS=knn COMPETITION=digits8 FOLDS=2`" in result.stderr
    )
    assert command("cv", *SMALL, "--models", "knn linear").returncode == 0
    oof, test, *others = command("export", *SPLIT, "--models", "knn linear").stdout.split()
    assert [Path(path).parts[-2:] for path in others] == [("linear", "oof.csv"), ("linear", "test.csv")]
    result = command("import", "--name", "theirs", *SPLIT, "--oof", oof, "--test", test)
    assert result.returncode == 0 and "@theirs: " in result.stdout, result.stderr
    assert "to blend it: make submit MODELS='quick @theirs' COMPETITION=digits8 FOLDS=2" in result.stdout
    result = command("submit", *SMALL, "--models", "knn @theirs", "--blend", "mean")
    assert result.returncode == 0 and "weights: @theirs 0.50, knn 0.50" in result.stdout, result.stderr


@pytest.mark.integration
def test_a_second_submit_trains_and_changes_nothing(command, tmp_path):
    first = command("submit", *SMALL, "--models", "knn svm")
    before, log = read_outputs(tmp_path), (tmp_path / "submissions" / "log.csv").read_bytes()
    result = command("submit", *SMALL, "--models", "knn svm")
    assert result.returncode == 0 and "everything is trained, and the submission is up to date" in result.stdout
    assert first.stdout.endswith(result.stdout.split("up to date\n")[1])
    assert read_outputs(tmp_path) == before and (tmp_path / "submissions" / "log.csv").read_bytes() == log


@pytest.mark.integration
def test_a_summary_that_does_not_belong_to_the_submission_is_not_printed(command, tmp_path):
    assert command("submit", *SMALL, "--models", "knn svm").returncode == 0
    before, summary = read_outputs(tmp_path), tmp_path / "submissions" / "digits8" / "001-knn-svm" / "summary.txt"
    intact = summary.read_bytes()
    for damaged in (b"", intact[:-1], intact.replace(b"knn", b"\xff\xff\xff", 1), intact[1:]):
        summary.write_bytes(damaged)
        result = command("submit", *SMALL, "--models", "knn svm")
        assert result.returncode == 0 and "hill-climbing" in result.stdout and "up to date" not in result.stdout
        assert summary.read_bytes() == intact and read_outputs(tmp_path) == before


@pytest.mark.integration
def test_a_user_error_is_one_line_and_exit_status_2(command, competition_copy):
    for arguments, message in (
        (("data", "--competition", "no_such"), "error: data/no_such contains no competition files"),
        (("cv", *SMALL, "--models", "all quick"), "error: `all` cannot be combined with other models"),
        (("cv", *SMALL, "--models", "unet"), "error: unknown model 'unet'"),
        (("submit", *SMALL, "--blend", "median"), "error: unknown blender 'median'; choose from auto"),
        (
            ("report", *SPLIT, "--models", "knn"),
            "error: none of knn is complete; run `make cv MODELS=knn COMPETITION=digits8 FOLDS=2`",
        ),
        (
            ("grade", "--competition", "digits8"),
            "error: digits8 has no submission yet; run `make submit COMPETITION=digits8`",
        ),
        (("cv", "--competition", "digits8", "--folds", "1"), "error: FOLDS=1 leaves nothing to train on"),
        (("doctor", "--competition", "digits8", "--folds", "1"), "error: FOLDS=1 leaves nothing to train on"),
    ):
        result = command(*arguments)
        assert result.returncode == 2 and result.stderr.startswith(message) and result.stderr.count("\n") == 1, (
            result.stderr
        )


def test_an_error_of_the_system_is_one_line_and_exit_status_1(tmp_path, capsys):
    app = create_app()

    @command_of(app)
    def read_a_folder() -> None:
        tmp_path.read_text()

    @command_of(app)
    def connect() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    assert run(app, "program", ["read-a-folder"]) == 1
    reason, check = "Is a directory", f"check the disk of {tmp_path.parent}: df -h {tmp_path.parent}"
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot read or write {tmp_path} ({reason}); {check}; ") and error.count("\n") == 1
    with pytest.raises(ConnectionRefusedError):
        run(app, "program", ["connect"])


def test_help_lists_the_commands_without_loading_numpy(command):
    text = command("--help").stdout
    assert all(f"  {name} " in text for name in ("data", "cv", "submit", "grade"))
    assert "..." not in text.split("Commands:")[1], "the first sentence of a command's docstring is too long"
    assert "--models" in command("cv", "--help").stdout
    program = "import sys; from competition.cli.app import main; main(['submit', '--help']); print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, check=True
    ).stdout
    assert not any(f"'{name}'" in modules for name in ("numpy", "sklearn", "tensorflow", "optuna", "rich"))


def test_an_installed_program_imports_modules_of_the_current_folder(tmp_path):
    (tmp_path / "own_metric.py").write_text("def steps_away(labels, probabilities):\n    return 0.0\n")
    script = tmp_path / "bin" / "foldblend"  # Python searches this folder instead of the current one
    script.parent.mkdir()
    script.write_text("from competition.cli.app import main\nmain(['--version'])\nimport own_metric\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_options_are_not_abbreviated(command):
    result = command("cv", "--model", "knn")
    assert result.returncode == 2 and "No such option: --model" in result.stderr


def test_unexpected_arguments_are_an_error(command):
    result = command("cv", "--models", "knn", "svm")
    assert result.returncode == 2 and "unexpected extra argument" in result.stderr


def test_options_are_read_from_variables_of_make(command, monkeypatch):
    monkeypatch.setenv("FOLDBLEND_COMPETITION", "digits8")
    monkeypatch.setenv("FOLDBLEND_FOLDS", "1")
    assert "error: FOLDS=1 leaves nothing to train on" in command("cv").stderr


def test_the_version_is_printed(command):
    assert re.fullmatch(r"foldblend \d+\.\d+\.\d+\n", command("--version").stdout)


@pytest.mark.integration
def test_models_that_exceed_the_budget_are_not_started(command, tmp_path):
    result = command("submit", *SMALL, "--models", "knn residual", "--jobs", "1", "--budget", "60s")
    assert result.returncode == 0, result.stderr
    assert "residual skipped: needs about" in result.stdout and "submission 1: " in result.stdout
    assert not list(tmp_path.glob("folds/*/*/residual/*.npz"))


@pytest.mark.integration
def test_a_run_stops_at_the_end_of_its_budget(command, tmp_path):
    result = command("cv", *SMALL, "--models", "mlp lenet", "--budget", "1s")
    assert result.returncode == 0, result.stderr
    assert "time limit reached" in result.stdout or " skipped: " in result.stdout
    assert not list(tmp_path.glob("folds/*/*/lenet/*.npz"))


def test_an_id_column_in_another_case_is_not_reported_as_ignored(command, competition_copy):
    train = pd.read_csv(competition_copy / "train.csv")
    ids = pd.DataFrame({"IMAGEID": np.arange(len(train)) + 1})  # ImageId in the sample
    pd.concat([ids, train], axis=1).to_csv(competition_copy / "train.csv", index=False)
    result = command("data", "--competition", "digits8")
    assert result.returncode == 0 and "ignored columns" not in result.stdout, result.stderr


@pytest.mark.slow
def test_tune_accepts_better_hyperparameters_and_cv_uses_them(command, tmp_path, competition_copy):
    path = tmp_path / "folds" / "digits8" / "parameters" / "svm.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"hyperparameters": {"c": 0.01}}')
    tuned = command("tune", "--competition", "digits8", "--models", "svm", "--trials", "6")
    assert tuned.returncode == 0, tuned.stderr
    accepted = json.loads(path.read_text())
    assert accepted["hyperparameters"]["c"] > 0.1 and accepted["p_value"] < accepted["threshold"]
    assert accepted["difference"] < 0 and accepted["study"].startswith("digits8 svm 5-folds-seed-0")
    assert (
        accepted["loss"] < accepted["current_loss"] and accepted["trial"] > 0 and accepted["date"] == str(date.today())
    )
    page = tmp_path / "folds" / "digits8" / "tuning" / "svm.html"  # if at least three trials are complete
    assert "svm: accepted" in tuned.stdout and page.exists() is ("plots of the search: " in tuned.stdout)
    trained = command("cv", "--competition", "digits8", "--folds", "2", "--models", "svm")
    assert "svm uses the hyperparameters in folds/digits8/parameters/svm.json" in trained.stdout
    again = command("tune", "--competition", "digits8", "--models", "svm", "--trials", "6")
    assert "svm trial" not in again.stdout, "finished trials were run again"


@pytest.mark.integration
def test_tune_reports_that_there_is_nothing_to_tune_or_no_time(command):
    assert "name models without a seed" in command("tune", "--competition", "digits8", "--models", "knn.1").stderr
    # Enough to start on a busy machine, too little for one trial.
    short = command("tune", "--competition", "digits8", "--models", "vgg", "--budget", "20s")
    assert (
        short.returncode == 0
        and "vgg: no better hyperparameters found in 0 trials; for the remaining 30 trials" in short.stdout
    )


@pytest.mark.slow
def test_the_dashboard_shows_the_studies(command, tmp_path, competition_copy):
    assert "make tune" in command("dashboard", "--competition", "digits8").stderr
    assert command("tune", "--competition", "digits8", "--models", "knn", "--trials", "2").returncode == 0
    arguments = [sys.executable, "-m", "competition", "dashboard", "--competition", "digits8"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as server:
        studies = None

        def is_serving():
            nonlocal studies
            try:
                with urlopen("http://127.0.0.1:8080/api/studies") as response:
                    studies = json.load(response)["study_summaries"]
            except URLError:
                return False
            return True

        wait_until(is_serving)
        server.send_signal(signal.SIGINT)
    assert any(study["study_name"].startswith("digits8 knn 5-folds-seed-0") for study in studies)
