"""A script made by `make kernel`, run as Kaggle would: without network, repository and missing packages."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, wait_until
from kaggle_session import MOUNTS, Session, attach_dataset, snapshot
from miniatures import MINIATURES
from submission_rules import check_submission, score

from competition.cli.app import main
from competition.crossval.predictions import read_fold
from competition.deploy import kernel
from competition.deploy.kernel import METADATA_FILE, SCRIPT_FILE, kernel_slug, write_kernel
from competition.deploy.model_pack import make_portable
from competition.models.interface import Target
from competition.models.member import Member

CACTUS = MINIATURES["aerial-cactus-identification"]
SETTINGS = {
    "competition": CACTUS.slug,
    "models": ["knn", "mlp"],
    "folds": 2,
    "seed": 0,
    "blend": "auto",
    "budget": None,
    "refit": 0,
}


def write(folder, files=(), **changes):
    return write_kernel(folder, f"someone/foldblend-{CACTUS.slug}", SETTINGS | changes, dict(files))


def test_the_metadata_names_the_competition_a_gpu_and_no_network(tmp_path):
    script = write(tmp_path)
    metadata = json.loads((tmp_path / METADATA_FILE).read_text())
    assert script.name == metadata["code_file"] == SCRIPT_FILE
    assert metadata["competition_sources"] == [CACTUS.slug] and metadata["id"].endswith(metadata["title"])
    assert metadata["enable_gpu"] and metadata["is_private"] and not metadata["enable_internet"]
    assert script.stat().st_size < kernel.MAX_SCRIPT_BYTES


def test_the_same_sources_give_the_same_script(tmp_path):
    assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()


def test_titles_have_at_most_fifty_characters():
    assert kernel_slug("digit-recognizer") == "foldblend-digit-recognizer"
    for purpose in ("", "-models"):
        slug = kernel_slug("plant-pathology-2021-fgvc8-with-a-very-long-name", purpose)
        assert len(slug) <= kernel.MAX_TITLE and slug.endswith(purpose)


@pytest.mark.integration
@pytest.mark.parametrize("layout", MOUNTS)
def test_a_session_ends_with_a_valid_submission(tmp_path, layout):
    session = Session(tmp_path)
    mount = session.mount(CACTUS.write(tmp_path), layout)
    before = snapshot(mount)
    result = session.run(write(tmp_path / "kernel"))
    assert result.returncode == 0, result.stdout + result.stderr
    check_submission(session.working / "submission.csv", CACTUS.truth)
    assert score(session.working / "submission.csv", CACTUS.truth) > 0.7
    split = session.working / "folds" / CACTUS.slug / "2-folds-seed-0"
    assert len(list(split.glob("*/fold-*.npz"))) == 4
    assert snapshot(mount) == before and not (session.working / "data").exists()


@pytest.mark.integration
def test_a_competition_that_is_not_attached_is_named(tmp_path):
    session = Session(tmp_path)
    (session.inputs / "competitions" / "another").mkdir(parents=True)
    result = session.run(write(tmp_path / "kernel"))
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert f"error: {CACTUS.slug} is not in {session.inputs}; add the competition" in result.stderr
    assert "(competitions attached: another)" in result.stderr


def npz_files(folder):
    return sorted(folder.glob(f"folds/{CACTUS.slug}/*/*/fold-*.npz"))


@pytest.mark.integration
@pytest.mark.parametrize("place", ["older", "newer", "the same folder"])
def test_a_killed_session_is_continued_by_the_next(tmp_path, place):
    session, script = Session(tmp_path / "first"), write(tmp_path / "kernel")
    archive = CACTUS.write(tmp_path)
    session.mount(archive, "newer")
    with session.start(script) as process:
        wait_until(lambda: npz_files(session.working))
        process.kill()
    finished = {path.relative_to(session.working): path.read_bytes() for path in npz_files(session.working)}
    assert 0 < len(finished) < 4
    if place != "the same folder":
        outputs, session = session.working, Session(tmp_path / "second")
        session.mount(archive, "newer")
        name = kernel_slug(CACTUS.slug)
        mount = session.inputs / (name if place == "older" else f"notebooks/someone/{name}")
        shutil.copytree(outputs, mount)
    result = session.run(script)
    assert result.returncode == 0, result.stdout + result.stderr
    check_submission(session.working / "submission.csv", CACTUS.truth)
    assert f"{4 - len(finished)} folds to train" in result.stdout
    assert len(npz_files(session.working)) == 4
    assert all((session.working / path).read_bytes() == content for path, content in finished.items())


@pytest.mark.integration
def test_outputs_of_other_data_are_not_continued(tmp_path):
    session = Session(tmp_path)
    session.mount(CACTUS.write(tmp_path), "older")
    split = session.inputs / "an-output" / "folds" / CACTUS.slug / "2-folds-seed-0" / "split.csv"
    split.parent.mkdir(parents=True)
    split.write_text("# split 123 of data 456\nid,fold\n")
    result = session.run(write(tmp_path / "kernel", models=["knn"]))
    assert result.returncode == 0 and "continuing" not in result.stdout, result.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("slug", "models", "fitted_blend"),
    [
        ("ranzcr-clip-catheter-line-classification", "knn mlp", "log-linear"),
        ("petfinder-pawpularity-score", "mlp boosting", "convex"),
        ("siim-isic-melanoma-classification", "knn logistic boosting", "convex"),
        ("aptos2019-blindness-detection", "knn mlp", "log-linear"),
    ],
)
@pytest.mark.parametrize(("is_fitted", "refit"), [(False, "0"), (True, "0"), (False, "2")])
def test_packed_models_predict_label_sets_numbers_and_by_columns(
    slug, models, fitted_blend, is_fitted, refit, tmp_path, monkeypatch, capsys
):
    blend = fitted_blend if is_fitted else "mean"
    miniature = MINIATURES[slug]
    (tmp_path / "data" / slug).mkdir(parents=True)
    miniature.write(tmp_path / "data" / slug)
    monkeypatch.chdir(tmp_path)
    options = ["--competition", slug, "--folds", "2", "--models", models, "--blend", blend, "--refit", refit]
    assert main(["submit", *options]) == 0, capsys.readouterr().err
    assert main(["kernel", "--competition", slug, "--infer"]) == 0, capsys.readouterr().err
    session = Session(tmp_path / "session")
    session.mount(miniature.write(tmp_path), "newer")
    attach_dataset(session, tmp_path / "kernels" / f"{slug}-infer")
    result = session.run(tmp_path / "kernels" / f"{slug}-infer" / SCRIPT_FILE)
    assert result.returncode == 0, result.stdout + result.stderr
    check_submission(session.working / "submission.csv", miniature.truth)
    expected, predicted = (
        pd.read_csv(path).select_dtypes("number")
        for path in (tmp_path / "submissions" / "submission.csv", session.working / "submission.csv")
    )
    scale = expected.iloc[:, -1].std()
    np.testing.assert_allclose(predicted.iloc[:, -1], expected.iloc[:, -1], atol=0.02 * scale)


OLDEST = {  # versions with which scripts are tested, and which Kaggle's machines had at the beginning of 2026
    "numpy": "1.26.4",
    "pandas": "2.2.3",
    "scikit-learn": "1.2.2",
    "scipy": "1.15.3",
    "tensorflow-cpu": "2.18.0",
    "keras": "3.8.0",
    "pillow": "11.2.1",
    "joblib": "1.5.1",
}


@pytest.fixture(scope="module")
def oldest_python(tmp_path_factory):
    """The interpreter of an environment with the oldest supported versions, installed from PyPI."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    packages = [f"{name}=={version}" for name, version in OLDEST.items()]
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", "3.11", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


@pytest.mark.slow
def test_a_session_with_the_oldest_supported_versions_ends_with_a_valid_submission(tmp_path, oldest_python):
    session = Session(tmp_path, oldest_python)
    session.mount(CACTUS.write(tmp_path), "newer")
    script = write(tmp_path / "kernel", models=["knn", "svm", "linear", "mlp", "quick"])
    result = session.run(script)
    assert result.returncode == 0 and "failed" not in result.stdout, result.stdout + result.stderr
    check_submission(session.working / "submission.csv", CACTUS.truth)
    assert score(session.working / "submission.csv", CACTUS.truth) > 0.9
    folds = npz_files(session.working)
    assert {path.parent.name for path in folds} == {"knn", "svm", "linear", "mlp", "quick"} and len(folds) == 10
    provenance = read_fold(next(path for path in folds if path.parent.name == "quick")).provenance
    assert provenance["keras"] == OLDEST["keras"] and provenance["scikit-learn"] == OLDEST["scikit-learn"]


PREDICT = """
import sys
from pathlib import Path
import numpy as np
from competition.models.networks.training import load_network
np.save("predicted.npy", load_network(Path("portable.keras")).predict_proba(np.load("images.npy")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quick", "quick:deskewed", "plain"])
def test_packed_networks_predict_the_same_with_the_oldest_keras(tmp_path, oldest_python, name):
    member, random = Member.parse(name), np.random.default_rng(0)
    images = random.integers(0, 256, (60, 16, 16, 1), dtype=np.uint8)
    recipe = replace(member.recipe, epochs=1, min_steps=1)
    network = member.spec.build(recipe, 0, images.shape[1:], Target("class", 3))
    network.fit(images, np.arange(60) % 3, lambda epoch: None)
    network.save(tmp_path / "network.keras")
    (tmp_path / "portable.keras").write_bytes(make_portable((tmp_path / "network.keras").read_bytes()))
    np.save(tmp_path / "images.npy", images)
    shutil.copytree(ROOT / "competition", tmp_path / "competition")
    subprocess.run([oldest_python, "-c", PREDICT], cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"]})
    np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), network.predict_proba(images), atol=1e-3)
