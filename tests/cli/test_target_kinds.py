"""Whole commands on competitions that ask for label sets and numbers, whose cached labels are replaced."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from conftest import digit_labels, replace_labels

from competition.data.csv_files import read_text
from competition.data.dataset import load_dataset

pytestmark = pytest.mark.integration


@pytest.fixture(params=["labels", "number"])
def kind(request, competition_copy):
    """Replace the digits by their label sets or by noisy numbers, in groups of three rows."""
    (competition_copy / "competition.toml").write_text("")
    if request.param == "labels":
        sample = read_text(competition_copy / "sample_submission.csv").assign(Label="")
        sample.to_csv(competition_copy / "sample_submission.csv", index=False)
    dataset = load_dataset(competition_copy)
    digits = np.array(dataset.labels)
    if request.param == "labels":
        labels, classes = digit_labels(digits), np.array(["even", "large", "loop"])
    else:
        noise = np.random.default_rng(0).normal(0, 0.1, len(digits))
        labels, classes = (digits + noise).astype(np.float32), np.array(["value"])
    replace_labels(dataset, dataset.cache, labels, classes, dataset.digest)
    return request.param


def test_every_command_works_or_says_why_not(kind, command, tmp_path):
    run = ["--competition", "digits8", "--folds", "3"]
    submitted = command("submit", *run, "--models", "knn mlp")
    assert submitted.returncode == 0, submitted.stderr
    labels = "3 labels in column label of train.csv, of which several may apply: even, large, loop"
    assert (labels if kind == "labels" else "a number in column label of train.csv") in submitted.stdout
    assert ("log loss" if kind == "labels" else "RMSE") in submitted.stdout
    written = read_text(tmp_path / "submissions" / "submission.csv")["Label"]
    truth = np.array(pd.read_csv(tmp_path / "data" / "digits8" / "held_back" / "labels.csv").iloc[:, 1])
    if kind == "labels":
        names = np.array(["even", "large", "loop"])
        expected = [" ".join(names[row == 1]) for row in digit_labels(truth)]
        assert (written == expected).mean() > 0.6
    else:
        assert np.sqrt(((written.astype(float) - truth) ** 2).mean()) < 2

    for name in ("report", "export"):
        done = command(name, *run, "--models", "knn")
        assert done.returncode == 0, done.stderr
    imported = tmp_path / "folds" / "digits8" / "3-folds-seed-0" / "knn"
    done = command("import", *run, "--name", "mine", "--oof", f"{imported}/oof.csv", "--test", f"{imported}/test.csv")
    assert done.returncode == 0, done.stderr
    reproduced = command("reproduce", "--competition", "digits8")
    assert "reproduced byte for byte" in reproduced.stdout, reproduced.stderr
    predicted = command("predict", "--competition", "digits8", "data/digits8/test.csv")
    header = predicted.stdout.splitlines()[0]
    assert header == ("file,row,labels,even,large,loop" if kind == "labels" else "file,row,value"), predicted.stderr
    as_json = command("predict", "--competition", "digits8", "--json", "data/digits8/test.csv")
    assert len(json.loads(as_json.stdout)) == 200

    retrained = command("submit", *run, "--models", "knn mlp", "--refit", "2")
    assert "models to train on all rows" in retrained.stdout, retrained.stderr
    predicted = command("predict", "--competition", "digits8", "data/digits8/test.csv")
    column = "labels" if kind == "labels" else "value"
    submitted = read_text(tmp_path / "submissions" / "submission.csv")["Label"]
    expected, actual = submitted, pd.read_csv(StringIO(predicted.stdout), dtype=str, keep_default_na=False)[column]
    if kind == "number":
        expected, actual = expected.astype(float).round(3), actual.astype(float).round(3)
    assert (expected == actual).mean() > 0.99, predicted.stderr

    for name, options in (("check-augmentation", run), ("demo", run[:2])):
        refused = command(name, *options)
        assert refused.returncode == 2
        assert f"error: {name} needs competitions with one class per image; digits8 has" in refused.stderr
    tuned = command("tune", *run, "--models", "knn", "--trials", "2")
    assert tuned.returncode == 0, tuned.stderr
    assert ("log loss" if kind == "labels" else "squared error") in tuned.stdout
