"""Models that are trained on all rows once cross-validation has given the score (REFIT)."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from competition.cli import refits
from competition.cli.refits import leave_time_for_refits, pending_refits, train_refits
from competition.cli.run import Competition, Run
from competition.crossval.folds import make_folds
from competition.crossval.progress import Progress
from competition.crossval.provenance import provenance_of
from competition.crossval.store import Store
from competition.crossval.task import FoldResult
from competition.data.config import Config
from competition.ensemble.blend import blend
from competition.scoring.metrics import ACCURACY
from competition.workers.local import LocalWorkers

SPLIT = ("--competition", "digits8", "--folds", "2", "--jobs", "2")
OPTIONS = (*SPLIT, "--blend", "mean", "--models", "mlp knn", "--refit", "2")  # both members have a weight
FOLDER = "submissions/digits8/001-mlp-knn"


@pytest.fixture
def run(dataset, tmp_path):
    """A run of `knn` and `mlp`, whose folds are finished, with four training runs on all rows."""
    store = Store(tmp_path, dataset, make_folds(dataset, 5, 0))
    competition = Competition("digits8", Config(), dataset)
    run = Run(competition, store, ACCURACY, competition.members(["knn", "mlp"]), 2, 900.0, None, "mean", refit=4)
    for member in run.members:
        provenance = provenance_of(member, dataset, store.folds)
        for fold in range(5):
            rows = (store.folds.held_out == fold).sum(), len(dataset.test_ids)
            predictions = (np.full((count, 10), 0.1) for count in rows)
            store.save(member, fold, FoldResult(*predictions, 1.0, b"", ".model", provenance))
    return run


@pytest.mark.integration
def test_models_of_all_rows_predict_the_test_rows_and_change_no_score(command, tmp_path):
    before = command("submit", *OPTIONS[:-2])
    assert before.returncode == 0, before.stderr
    result = command("submit", *OPTIONS)
    assert result.returncode == 0, result.stderr
    assert "3 models to train on all rows" in result.stdout and "mlp on all rows (2) took" in result.stdout
    without, with_refits = (
        json.loads((tmp_path / "submissions" / "digits8" / name / "metadata.json").read_text())
        for name in ("001-mlp-knn", "002-mlp-knn")
    )
    assert without["score"] == with_refits["score"]
    assert (without["refits"], with_refits["refits"]) == (0, 2)
    files = (tmp_path / "folds" / "digits8" / "all-rows").glob("*/*.npz")
    assert sorted(f"{path.parent.name} {path.stem}" for path in files) == ["knn fold-0", "mlp fold-0", "mlp fold-1"]
    predict = ("predict", "data/digits8/test.csv", "--competition", "digits8", "--number")
    first, second = (pd.read_csv(StringIO(command(*predict, number).stdout)) for number in ("1", "2"))
    assert (first["probability"] != second["probability"]).mean() > 0.9
    again = command("submit", *OPTIONS)
    assert again.returncode == 0 and "everything is trained, and the submission is up to date" in again.stdout
    assert "submission 2: " in again.stdout and "predicted by models trained on all rows" in again.stdout


@pytest.mark.integration
def test_a_submission_of_all_rows_is_predicted_exported_and_reproduced_by_its_models(command, tmp_path):
    assert command("submit", *OPTIONS).returncode == 0
    submitted = pd.read_csv(tmp_path / FOLDER / "submission.csv")
    result = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    assert (pd.read_csv(StringIO(result.stdout))["label"] == submitted["Label"]).all(), result.stderr
    result = command("reproduce", "--competition", "digits8")
    assert "byte for byte, from the stored predictions" in result.stdout, result.stderr
    for path in (tmp_path / "folds" / "digits8" / "all-rows" / "mlp").glob("fold-1.*"):
        path.unlink()
    result = command("predict", "data/digits8/test.csv", "--competition", "digits8")
    assert result.returncode == 2 and "mlp on all rows (2) is not trained" in result.stderr
    result = command("reproduce", "--competition", "digits8")
    assert "byte for byte, after training 1 model" in result.stdout, result.stderr


def test_without_time_for_all_rows_the_models_of_the_folds_predict(run, monkeypatch):
    members = [run.store.predictions(member) for member in run.members]
    blended = blend(members, run.dataset.labels, run.store.folds.held_out)
    monkeypatch.setattr(refits, "train_members", lambda run: None)
    assert train_refits(run, blended) is blended and len(pending_refits(run, blended)) == 5


@pytest.mark.integration
def test_imported_members_cannot_be_trained_on_all_rows(command, competition_copy):
    result = command("submit", *OPTIONS[:-4], "--models", "knn @theirs", "--refit", "1")
    assert result.returncode == 2 and "@theirs was imported and cannot be trained on all rows" in result.stderr
    assert "REFIT=1" in result.stderr


def test_a_budget_is_divided_by_the_expected_times(run):
    networks = replace(run, members=run.members[1:])  # five times 4/5 of the rows, and four times all
    assert np.isclose(leave_time_for_refits(networks).budget, 450.0)
    classical = replace(run, members=run.members[:1])  # once on all rows
    assert np.isclose(leave_time_for_refits(classical).budget, 720.0)


def test_the_time_for_all_rows_is_estimated_from_the_folds(run):
    estimates = {}

    def record(refit):
        workers = LocalWorkers(2, gpus=[])
        progress = Progress(refit.store, refit.members, workers, refit.metric, refit.slowdowns)
        estimates.update({member.name: progress.expected_seconds(member) for member in refit.members})

    members = [run.store.predictions(member) for member in run.members]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refits, "train_members", record)
        train_refits(run, blend(members, run.dataset.labels, run.store.folds.held_out))
    assert estimates == pytest.approx({"knn": 1.25, "mlp": 1.25})  # a fold of 4/5 of the rows took a second


def test_models_of_members_without_a_weight_are_not_trained_on_all_rows(run):
    members = [run.store.predictions(member) for member in run.members]
    blended = blend(members, run.dataset.labels, run.store.folds.held_out)
    weights = np.array([1.0, 0.0])
    single = replace(blended, combination=replace(blended.combination, weights=weights))
    assert [task.name for task in pending_refits(run, single)] == ["knn on all rows (1)"]
