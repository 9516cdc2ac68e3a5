"""The notebook of the tour type-checks, and runs from its first cell to its last."""

import json
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import ROOT

RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=900).execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.mark.integration
def test_the_tour_type_checks(tmp_path):
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text())["cells"]
    code = tmp_path / "tour.py"
    code.write_text("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, "--allow-untyped-defs", "--follow-imports", "silent", code],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_the_tour_ends_with_a_submission(tmp_path):
    (tmp_path / "competition").symlink_to(ROOT / "competition")
    if (ROOT / "data" / "digits" / "sample_submission.csv").exists():
        (tmp_path / "data").symlink_to(ROOT / "data")
    run = [sys.executable, "-c", RUN, ROOT / "docs" / "tour.ipynb", tmp_path / "run.ipynb"]
    start = time.monotonic()
    result = subprocess.run(run, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    print(f"the tour took {time.monotonic() - start:.0f} s")
    cells = [cell for cell in json.loads((tmp_path / "run.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    submission = pd.read_csv(tmp_path / "submissions" / "tour.csv")
    assert submission.columns.tolist() == ["ImageId", "Label"] and len(submission) == 28_000
    assert submission["Label"].value_counts().between(2_300, 3_300).all()


@pytest.mark.parametrize("layout", ["{name}", "competitions/{name}"])
def test_the_tour_never_replaces_an_attached_competition_by_practice_data(layout, tmp_path, monkeypatch):
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    first = "\n".join(sources[: next(number for number, source in enumerate(sources) if "load_dataset" in source)])
    (tmp_path / "competition").symlink_to(ROOT / "competition")
    for name in ("digit-recognizer", "letters"):
        inputs = tmp_path / name
        mount = inputs / layout.format(name=name)
        mount.mkdir(parents=True)
        (mount / "train.csv").touch()
        monkeypatch.setenv("FOLDBLEND_KAGGLE_INPUT", str(inputs))
        run = [sys.executable, "-c", first]
        result = subprocess.run(run, cwd=tmp_path, text=True, capture_output=True, check=True)
        assert result.stdout == f"competition: {name}, from {mount}\n"
        assert (tmp_path / "data" / name / "train.csv").is_symlink()
