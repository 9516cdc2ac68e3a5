"""What a Kaggle session returns."""

import errno

import pytest

from competition.cli import session
from competition.cli.run import FOLDS
from competition.errors import UserError


@pytest.mark.parametrize(
    ("output", "status"),
    [
        (session.SUBMISSION, 0),
        (FOLDS / "cats" / "5-folds-seed-0" / "quick" / "fold-0.npz", 0),
        (FOLDS / "cats" / "5-folds-seed-0" / "quick" / "fold-0.checkpoint", 0),
        (FOLDS / "cats" / "5-folds-seed-0" / "split.csv", 2),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_session_succeeds_if_it_submits_or_can_be_continued(output, status, fails, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "_link_inputs", lambda competition, files: None)

    def train(settings, files, start):
        path = tmp_path / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if fails:
            raise UserError("quick fold 1 failed")

    assert session._run(train, {"competition": "cats"}, tmp_path) == status
    message = "quick fold 1 failed" if fails else "no model was completed in time; push again to continue"
    is_silent = output == session.SUBMISSION and not fails
    assert capsys.readouterr().err == ("" if is_silent else f"error: {message}\n")


def test_a_full_disk_is_an_error_in_one_line_and_keeps_finished_folds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "_link_inputs", lambda competition, files: None)

    def train(settings, files, start):
        (tmp_path / FOLDS / "cats" / "5-folds-seed-0" / "knn").mkdir(parents=True)
        (tmp_path / FOLDS / "cats" / "5-folds-seed-0" / "knn" / "fold-0.npz").touch()
        raise OSError(errno.ENOSPC, "No space left on device", "folds/cats/5-folds-seed-0/knn/fold-1.npz")

    assert session._run(train, {"competition": "cats"}, tmp_path) == 0
    message = capsys.readouterr().err
    assert message.startswith("error: cannot read or write folds/cats/") and message.count("\n") == 1
