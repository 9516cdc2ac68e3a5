import sys

import pytest

from competition.errors import command, first_line, flag, missing_extra, option


@pytest.fixture
def without_make(monkeypatch, tmp_path):
    monkeypatch.delenv("FOLDBLEND_MAKE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))


def test_commands_are_given_as_targets_under_make():
    assert command("cv", models="quick svm") == "make cv MODELS='quick svm'"
    assert option("folds", 2) == "FOLDS=2" and option("budget") == "BUDGET" and flag("yes") == "YES=1"


def test_options_with_default_values_are_omitted():
    assert command("cv", models="knn", competition="digits", folds=5, seed=0) == "make cv MODELS=knn"
    assert command("cv", competition="mnist", folds=3, seed=2) == "make cv COMPETITION=mnist FOLDS=3 SEED=2"


def test_commands_are_given_for_the_installed_program(without_make, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/foldblend", "cv"])
    assert command("cv", models="quick svm") == "foldblend cv --models 'quick svm'"
    assert option("folds", 2) == "--folds 2" and option("budget") == "--budget" and flag("yes") == "--yes"


def test_commands_are_given_for_the_module(without_make, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/clone/competition/__main__.py"])
    assert command("record-score", value="SCORE") == ".venv/bin/python -m competition record-score --value SCORE"


def test_a_missing_extra_is_installed_by_the_running_interpreter(without_make):
    error = str(missing_extra("Dask", "cluster"))
    assert error == "Dask is not installed; run: .venv/bin/python -m pip install 'foldblend[cluster]'"


def test_the_first_line_of_an_error_without_a_message_is_its_type():
    assert first_line("\n  a reason \nmore") == "a reason" and first_line("") == ""
    assert first_line(KeyError()) == "KeyError"
