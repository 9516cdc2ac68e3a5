"""What is trained within a time budget."""

from dataclasses import replace

import numpy as np
import pytest

from competition.cli import training
from competition.cli.run import FOLDS, Competition, Run
from competition.cli.training import BudgetLimits, fit_to_budget
from competition.crossval.folds import make_folds
from competition.crossval.predictions import Predictions
from competition.crossval.progress import Progress
from competition.crossval.store import Store
from competition.data.config import Config
from competition.scoring.metrics import ACCURACY
from competition.workers.local import LocalWorkers


@pytest.fixture
def run(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    competition = Competition("digits8", Config(), dataset)
    store = Store(FOLDS / "digits8", dataset, make_folds(dataset, 2, 0))
    members = competition.members(["knn", "svm", "quick", "quick:deskewed"])
    return Run(competition, store, ACCURACY, members, jobs=2, budget=1000.0, cluster=None, blend="auto")


def names_after(run, monkeypatch, seconds_of_knn):
    """The members chosen for the budget if a fold of `knn` takes so long."""

    def cross_validate(run):
        assert [member.name for member in run.members] == ["knn"]
        yield []

    monkeypatch.setattr(training, "cross_validate_run", cross_validate)
    monkeypatch.setattr(Store, "reason_to_train", lambda store, member, fold: None if member.name == "knn" else "new")
    monkeypatch.setattr(Store, "seconds", lambda store, member, fold: seconds_of_knn)
    fitted = fit_to_budget(run)
    assert fitted.budget <= run.budget
    return [member.name for member in fitted.members]


def reference_seconds(run, name):
    return run.competition.member(name).training_seconds(len(run.dataset.labels) / 2)


@pytest.mark.parametrize("chosen", ["quick", "quick:e10", "quick:e8", "quick:short", "quick:e4", "quick:e2"])
def test_the_network_is_trained_as_long_as_fits(chosen, run, monkeypatch):
    slowdown = 0.94 * run.budget / reference_seconds(run, chosen)  # two folds on two workers take one fold's time
    names = names_after(run, monkeypatch, slowdown * reference_seconds(run, "knn"))
    assert names == ["knn", "svm", chosen, "quick:deskewed"]


def test_a_finished_training_takes_no_time(run, monkeypatch):
    slowdown = 0.94 * run.budget / reference_seconds(run, "quick:e4")
    names_after(run, monkeypatch, slowdown * reference_seconds(run, "knn"))
    monkeypatch.setattr(Store, "reason_to_train", lambda store, member, fold: "new" if member.name == "quick" else None)
    assert [member.name for member in fit_to_budget(run).members][2] == "quick:e10"


def test_without_a_classical_model_nothing_is_shortened(run):
    networks = replace(run, members=run.members[2:])
    assert fit_to_budget(networks).members == networks.members


def test_the_first_network_comes_before_cheaper_models(run):
    progress = Progress(run.store, run.members, LocalWorkers(2, gpus=[]), ACCURACY)
    labels = run.dataset.labels
    uniform = np.full((len(labels), 10), 0.1)
    complete = [Predictions("knn", uniform, np.stack([uniform[: len(run.dataset.test_ids)]] * 2), 1.0, "")]
    for budget in (1000.0, None):
        limits = BudgetLimits(replace(run, budget=budget), progress)
        priorities = limits.priorities(complete, run.members[1:])
        names = [member.name for member in sorted(run.members[1:], key=lambda member: -priorities.get(member, 0.0))]
        assert names[:2] == (["quick", "svm"] if budget else ["svm", "quick"])
