"""Practice is not mistaken for Kaggle's competition."""

import shutil

import pytest

from competition.cli.submissions import record_score
from competition.errors import UserError
from competition.views.terminal.submissions import explain_practice, kaggle_hint

KNN = ("--folds", "2", "--models", "knn")


@pytest.fixture
def without_credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.integration
def test_the_last_line_of_a_practice_run_says_that_it_is_not_for_kaggle(command):
    result = command("submit", "--competition", "digits8", *KNN)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == (
        "practice, not for Kaggle: submissions/submission.csv; "
        "for Kaggle's competition, run: make submit COMPETITION=digit-recognizer"
    )


@pytest.mark.integration
def test_practice_does_not_replace_a_submission_for_kaggle(command, competition_copy, tmp_path):
    ignore = shutil.ignore_patterns("held_back")
    shutil.copytree(competition_copy, competition_copy.with_name("letters"), ignore=ignore)
    (competition_copy.with_name("letters") / "sample_submission.csv").write_text(
        (competition_copy / "sample_submission.csv").read_text().replace("Label", "letter")
    )
    current = tmp_path / "submissions" / "submission.csv"
    assert command("submit", "--competition", "digits8", *KNN).returncode == 0
    practice = current.read_bytes()
    real = command("submit", "--competition", "letters", *KNN)
    assert real.returncode == 0 and "not for Kaggle" not in real.stdout, real.stderr
    submission = current.read_bytes()
    assert submission != practice  # practice is replaced
    result = command("submit", "--competition", "digits8", *KNN)
    file = "submissions/digits8/001-knn/submission.csv"
    assert result.returncode == 0 and current.read_bytes() == submission, result.stderr
    assert "the submission is up to date" in result.stdout and (tmp_path / file).read_bytes() == practice
    assert f"practice, not for Kaggle: {file}; " in result.stdout.splitlines()[-1]


def test_kaggles_files_are_pointed_out_before_practice_is_run(without_credentials, tmp_path):
    assert kaggle_hint("digits", tmp_path) is None
    (tmp_path / "digit-recognizer" / ".download").mkdir(parents=True)
    assert kaggle_hint("digits", tmp_path) is None
    (tmp_path / "digit-recognizer" / "train.csv").touch()
    hint = kaggle_hint("digits", tmp_path)
    assert hint == (
        f"Kaggle's own files are in {tmp_path}/digit-recognizer; "
        "train on them: make submit COMPETITION=digit-recognizer"
    )
    assert kaggle_hint("digits8", tmp_path) is None and kaggle_hint("digit-recognizer", tmp_path) is None
    assert explain_practice(tmp_path / "a.csv", hint) == f"practice, not for Kaggle: {tmp_path}/a.csv; {hint}"


def test_credentials_for_kaggle_are_pointed_out(without_credentials, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    hint = kaggle_hint("digits", tmp_path)
    assert hint.endswith("make submit COMPETITION=digit-recognizer") and "a-token" not in hint


@pytest.mark.integration
def test_a_bare_submit_begins_and_ends_with_the_hint(command, competition_copy, tmp_path):
    competition_copy.rename(competition_copy.with_name("digits"))
    (tmp_path / "data" / "digit-recognizer").mkdir()
    (tmp_path / "data" / "digit-recognizer" / "train.csv").touch()
    result = command("submit", *KNN)
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and lines[0].startswith("Kaggle's own files are in data/digit-recognizer;")
    assert lines[-1] == f"practice, not for Kaggle: submissions/submission.csv; {lines[0]}"


def test_no_leaderboard_score_is_recorded_for_practice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="digits is a practice competition, which is not on Kaggle"):
        record_score("digits", None, 0.997)
