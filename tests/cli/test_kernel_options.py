"""What `make kernel` checks before a session starts, and after it has ended."""

from types import SimpleNamespace

import pytest

from competition.cli import kernel
from competition.cli.run import RunOptions
from competition.errors import UserError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"models": ["quick", "@theirs"]},
            "@theirs was imported, .*; blend it here: make submit COMPETITION=cats MODELS='quick @theirs'",
        ),
        ({"models": ["no-such-model"]}, "no-such-model"),
        ({"models": ["best", "quick"]}, "`best` cannot be combined"),
        ({"blend": "typo"}, "unknown blender 'typo'"),
        ({"folds": 1}, "leaves nothing to train on"),
    ],
)
def test_options_that_would_fail_in_the_session_are_rejected_before(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        kernel._check_options(RunOptions("cats", **options))


def test_a_metric_of_ones_own_is_rejected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "cats").mkdir(parents=True)
    (tmp_path / "data" / "cats" / "competition.toml").write_text('metric = "-mine:steps_away"')
    with pytest.raises(UserError, match="the metric -mine:steps_away is in a module of yours"):
        kernel._check_options(RunOptions("cats"))
    (tmp_path / "data" / "cats" / "competition.toml").write_text('metric = "macro F1"')
    kernel._check_options(RunOptions("cats", models=["best"]))


def test_a_session_whose_outputs_cannot_be_imported_stays_to_be_fetched(tmp_path, monkeypatch):
    def fail(*arguments):
        raise UserError("folds/cats/5-folds-seed-0 is in use by another run; wait until it ends")

    store = SimpleNamespace(folds=SimpleNamespace(name="5-folds-seed-0"))
    monkeypatch.setattr(kernel, "open_competition", lambda name: None)
    monkeypatch.setattr(kernel, "open_store", lambda *arguments: store)
    monkeypatch.setattr(kernel, "import_members", fail)
    pushed = tmp_path / kernel.PUSHED_FILE
    pushed.touch()
    with pytest.raises(UserError, match=f"wait until it ends; run the same command again .*: rm {pushed}$"):
        kernel._import_output(RunOptions("cats"), tmp_path, "")
    assert pushed.exists()
