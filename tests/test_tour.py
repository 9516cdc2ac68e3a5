"""The notebook runs from its first cell to its last, in a folder that has the package and perhaps the digits."""

import json
import subprocess
import sys

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


@pytest.mark.slow
def test_the_tour_ends_with_a_submission(tmp_path):
    (tmp_path / "competition").symlink_to(ROOT / "competition")
    if (ROOT / "data" / "digits" / "sample_submission.csv").exists():
        (tmp_path / "data").symlink_to(ROOT / "data")
    run = [sys.executable, "-c", RUN, ROOT / "docs" / "tour.ipynb", tmp_path / "run.ipynb"]
    done = subprocess.run(run, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in json.loads((tmp_path / "run.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    submission = pd.read_csv(tmp_path / "submissions" / "tour.csv")
    assert submission.columns.tolist() == ["ImageId", "Label"] and len(submission) == 28_000
    assert submission["Label"].value_counts().between(2_300, 3_300).all()
