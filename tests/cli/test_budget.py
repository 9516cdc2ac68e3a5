"""What is trained within a time budget."""

import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from competition.checks import machine_speed
from competition.cli import train
from competition.cli.run import FOLDS, Competition, Run
from competition.cli.train import BudgetLimits, fit_to_budget
from competition.crossval import training_speed
from competition.crossval.checkpoint import checkpoint_path
from competition.crossval.folds import make_folds
from competition.crossval.predictions import Predictions
from competition.crossval.progress import Progress
from competition.crossval.provenance import provenance_of
from competition.crossval.run import FailedFoldsError
from competition.crossval.store import Store
from competition.crossval.task import FoldResult
from competition.data.config import Config
from competition.errors import DiskError, UserError
from competition.models.hyperparameters import tuned_path
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.workers.events import Failure
from competition.workers.local import LocalWorkers


@pytest.fixture
def run(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    competition = Competition("digits8", Config(), dataset)
    store = Store(FOLDS / "digits8", dataset, make_folds(dataset, 2, 0))
    members = competition.members(["knn", "svm", "quick", "quick:deskewed"])
    return Run(competition, store, ACCURACY, members, jobs=2, budget=1000.0, cluster=None, blend="auto")


def save_folds(run, name, seconds):
    """Save the folds of a member as if each had taken so long."""
    member, rows = run.competition.member(name), run.dataset
    for fold in range(2):
        held_out, test = (
            np.full((count, 10), 0.1) for count in ((run.store.folds.held_out == fold).sum(), len(rows.test_ids))
        )
        provenance = provenance_of(member, rows, run.store.folds)
        run.store.save(member, fold, FoldResult(held_out, test, seconds, b"", ".model", provenance))


def chosen_names(run, monkeypatch, slowdown=None):
    """The members chosen for the budget on a machine that is so much slower; `knn` is not trained."""

    def cross_validate(run):
        assert [member.name for member in run.members] == ["knn"]
        yield []

    class Speed:
        def fold_seconds(self, member, store):
            return slowdown * reference_seconds(run, member.name)

    monkeypatch.setattr(train, "cross_validate_run", cross_validate)
    measured = Speed() if slowdown else Failure("out of memory", "")
    monkeypatch.setattr(training_speed, "measure_speed", lambda member, store, workers: measured)
    fitted = fit_to_budget(run)
    assert all(value == pytest.approx(slowdown) for value in fitted.slowdowns.values())
    assert fitted.budget <= run.budget
    return [member.name for member in fitted.members]


def reference_seconds(run, name):
    return run.competition.member(name).training_seconds(len(run.dataset.labels) / 2, run.dataset.images.shape[1:])


@pytest.mark.parametrize(
    ("network", "chosen"),
    [
        *(("quick", f"quick{variant}") for variant in ("", ":e10", ":e9", ":e3", ":e2")),
        *(("detail", f"detail{variant}") for variant in ("", ":e17", ":e2")),
        *(("resnet", f"resnet{variant}") for variant in ("", ":e11", ":e2")),
    ],
)
def test_the_network_is_trained_as_long_as_fits(network, chosen, run, monkeypatch):
    run = replace(run, members=run.competition.members(["knn", "svm", network, "quick:deskewed"]))
    slowdown = (
        0.99 * train.BUDGET_SHARE * run.budget / reference_seconds(run, chosen)
    )  # two folds on two workers take one fold's time
    assert chosen_names(run, monkeypatch, slowdown) == ["knn", "svm", chosen, "quick:deskewed"]


def test_the_model_that_makes_the_first_submission_learns_from_images(run, monkeypatch):
    with_columns = replace(run, members=(Member.parse("logistic"), *run.members))
    assert chosen_names(with_columns, monkeypatch, 0.01) == ["logistic", "knn", "svm", "quick", "quick:deskewed"]


def test_a_training_that_was_begun_is_completed_without_measuring_again(run, monkeypatch):
    save_folds(run, "quick:e8", 1.0)
    (run.store.split_folder / "quick:e8" / "fold-1.npz").unlink()
    monkeypatch.setattr(train, "cross_validate_run", lambda run: (stage for stage in [[]]))
    monkeypatch.setattr(training_speed, "measure_speed", None)
    assert fit_to_budget(run).members[2].name == "quick:e8"


def test_a_training_that_has_a_checkpoint_is_continued_if_it_fits(run, monkeypatch):
    checkpoint = checkpoint_path(run.store.split_folder, "quick:e8", 1)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    seconds = train.BUDGET_SHARE * run.budget / reference_seconds(run, "quick")
    assert chosen_names(run, monkeypatch, 0.5 * seconds)[2] == "quick:e8"
    assert chosen_names(run, monkeypatch, 2 * seconds)[2] == "quick:e5"


def test_a_finished_network_is_not_measured(run, monkeypatch):
    save_folds(run, "quick", 1.0)
    monkeypatch.setattr(train, "cross_validate_run", lambda run: (stage for stage in [[]]))
    monkeypatch.setattr(training_speed, "measure_speed", None)
    assert fit_to_budget(run).members == run.members


def test_a_networks_slowdown_says_nothing_about_other_models(run):
    progress = Progress(run.store, run.members, LocalWorkers(2, gpus=[]), ACCURACY, {"quick": 3.0})
    svm, quick, deskewed = (run.competition.member(name) for name in ("svm", "quick", "quick:deskewed"))
    assert progress.expected_seconds(svm) == pytest.approx(reference_seconds(run, "svm"))
    assert progress.expected_seconds(quick) == pytest.approx(3 * reference_seconds(run, "quick"))
    assert progress.expected_seconds(deskewed) == pytest.approx(3 * reference_seconds(run, "quick:deskewed"))


def test_without_measurements_finished_models_of_the_same_kind_tell_the_speed(run):
    save_folds(run, "knn", 2 * reference_seconds(run, "knn"))
    save_folds(run, "quick", 5 * reference_seconds(run, "quick"))
    progress = Progress(run.store, run.members, LocalWorkers(2, gpus=[]), ACCURACY)
    svm, deskewed = (run.competition.member(name) for name in ("svm", "quick:deskewed"))
    assert progress.expected_seconds(svm) == pytest.approx(2 * reference_seconds(run, "svm"), rel=0.02)
    assert progress.expected_seconds(deskewed) == pytest.approx(5 * reference_seconds(run, "quick:deskewed"), rel=0.01)


def test_without_a_classical_model_the_network_is_shortened_too(run, monkeypatch):
    slowdown = 0.99 * train.BUDGET_SHARE * run.budget / reference_seconds(run, "quick:e6")
    networks = replace(run, members=run.members[2:])
    assert chosen_names(networks, monkeypatch, slowdown) == ["quick:e6", "quick:deskewed"]


def test_if_the_speed_cannot_be_measured_a_typical_one_is_assumed(run, monkeypatch, capsys):
    assert chosen_names(run, monkeypatch) == ["knn", "svm", "quick", "quick:deskewed"]
    assert "could not measure it (out of memory); assuming a typical speed" in capsys.readouterr().out


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


@pytest.mark.parametrize(("seconds", "is_left_out"), [(900.0, False), (1100.0, True)])
def test_features_whose_extraction_takes_most_of_the_budget_are_left_out(
    seconds, is_left_out, run, monkeypatch, capsys
):
    monkeypatch.setattr(train, "extraction_seconds", lambda competition, members: seconds)
    monkeypatch.setattr(machine_speed, "measure_gflops", lambda: {"float32": machine_speed.REFERENCE_GFLOPS})
    workers = LocalWorkers(2).jobs
    with_features = replace(run, members=(*run.members, Member.parse("features-svm")), budget=1000.0 * 2 / workers)
    assert (chosen_names(with_features, monkeypatch)[-1] == "features-svm") is not is_left_out
    assert (
        "left out: features-svm (extracting their features would take about" in capsys.readouterr().out
    ) is is_left_out


def test_the_other_models_are_trained_if_the_first_one_fails(run, monkeypatch):
    def fail(run):
        raise FailedFoldsError("knn fold 0 failed, as reported above")
        yield

    monkeypatch.setattr(train, "cross_validate_run", fail)
    monkeypatch.setattr(training_speed, "measure_speed", lambda member, store, workers: Failure("unknown", ""))
    assert fit_to_budget(run).members == run.members


@pytest.mark.parametrize("error", [DiskError("No space left on device"), UserError("in use by another run")])
def test_other_errors_end_the_run(error, run, monkeypatch):
    def fail(run):
        raise error
        yield

    monkeypatch.setattr(train, "cross_validate_run", fail)
    with pytest.raises(type(error), match=str(error)):
        fit_to_budget(run)


def test_the_time_limit_holds_in_the_background_where_shells_ignore_interrupts(capsys):
    handlers = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    try:
        with train.time_limit(0.05):
            while time.monotonic() < start + 5:
                time.sleep(0.01)
            pytest.fail("the limit was not enforced")
        assert capsys.readouterr().out == train.LIMIT_REACHED + "\n"
        assert signal.getsignal(signal.SIGALRM) == handlers[1]
    finally:
        signal.signal(signal.SIGINT, handlers[0])


def test_a_shorter_network_says_that_it_does_not_use_tuned_hyperparameters(run, monkeypatch, capsys):
    path = tuned_path(run.competition.folds_folder, Member.parse("quick"))
    path.parent.mkdir(parents=True)
    path.write_text('{"hyperparameters": {}}')
    slowdown = 0.99 * train.BUDGET_SHARE * run.budget / reference_seconds(run, "quick:e8")
    assert chosen_names(run, monkeypatch, slowdown)[2] == "quick:e8"
    assert "quick:e8 does not use the tuned hyperparameters of quick\n" in capsys.readouterr().out
