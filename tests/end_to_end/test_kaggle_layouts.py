"""From the archive that Kaggle delivers to a valid submission, without configuration."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from miniatures import BENCH_VARIANTS, MINIATURES
from submission_rules import check_submission, score

from competition.cli.app import main

pytestmark = pytest.mark.integration

MIN_TEST_ROWS = 20  # from which on the score is compared with chance
BOTH = {**MINIATURES, **{f"{slug} of MLE-bench": variant for slug, variant in BENCH_VARIANTS.items()}}
# cifar-10 needs seconds to be made; the sample submission of sign-language-mnist is not Kaggle's.
ACCEPTED = [name for name in BOTH if name in ("cifar-10", "sign-language-mnist") or BOTH[name].truth.kind != "refused"]
# What a model that has learned the classes exceeds; chance is 0.5 for AUC, 0 for QWK, log(classes) for log loss.
# The QWK of the most probable grades is 0.74.
MIN_SCORES = {"AUC": 0.7, "accuracy": 0.3, "QWK": 0.8, "MAP@5": 0.5, "micro F1": 0.5}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_download_becomes_a_valid_submission_that_has_learned_the_classes(name, tmp_path, monkeypatch, capsys):
    miniature, truth = BOTH[name], BOTH[name].truth
    folder = tmp_path / "data" / miniature.slug
    folder.mkdir(parents=True)
    miniature.write(folder)
    monkeypatch.chdir(tmp_path)
    models = ["quick:e2" if truth.metric == "MAP@5" else "svm", *(["logistic"] if truth.columns else [])]
    options = ["--competition", miniature.slug, "--models", " ".join(models), "--folds", "3", "--jobs", "2"]
    status = main(["submit", *options])
    output = capsys.readouterr()
    assert status == 0, output.err
    if not truth.sample:
        return
    submission = tmp_path / "submissions" / "submission.csv"
    check_submission(submission, truth)
    assert f"metric: {truth.metric}" in output.out.replace("mean column AUC", "AUC")
    if truth.test_rows >= MIN_TEST_ROWS:
        value = score(submission, truth)
        if truth.metric == "log loss":
            assert value < 0.9 * np.log(len(truth.classes))
        elif truth.metric == "RMSE":
            assert value < 0.9 * np.std(truth.answers)
        else:
            assert value > MIN_SCORES[truth.metric]


def test_predict_chooses_the_labels_of_the_submission(tmp_path, monkeypatch, capsys):
    miniature = MINIATURES["aptos2019-blindness-detection"]
    folder = tmp_path / "data" / miniature.slug
    folder.mkdir(parents=True)
    miniature.write(folder)
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "--competition", miniature.slug, "--models", "knn svm", "--folds", "3"]) == 0
    assert "its labels have the highest expected QWK" in capsys.readouterr().out
    (images,) = folder.rglob("test_images")
    assert main(["predict", str(images), "--competition", miniature.slug]) == 0
    predicted = pd.read_csv(io.StringIO(capsys.readouterr().out))
    predicted.index = predicted["file"].map(lambda path: Path(path).stem)
    submission = pd.read_csv(tmp_path / "submissions" / "submission.csv", index_col=0)["diagnosis"]
    assert (predicted["label"].reindex(submission.index) == submission).all()
