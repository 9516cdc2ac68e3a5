"""Competitions of other kinds, through the whole road; what is promised for them is seen to be true."""

import re

import numpy as np
import pandas as pd
import pytest

from competition.rules import FILE
from competition.sources import write_competition

SIDE, SITTERS, PICTURES = 12, 60, 8


def sitters(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Portraits: each sitter has a look of its own, and smiles in all pictures or in none, which shows a little."""
    looks, smiles = random.integers(0, 150, (SITTERS, SIDE, SIDE)), np.arange(SITTERS) % 2
    images = looks[:, None] + random.integers(0, 40, (SITTERS, PICTURES, SIDE, SIDE))
    images[..., 8, 2:10] += (55 * smiles)[:, None, None]
    rows = images.clip(0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)
    return rows, np.repeat(smiles, PICTURES), np.repeat(np.arange(SITTERS), PICTURES)


@pytest.mark.slow
def test_groups_show_the_truth_where_other_folds_flatter(command, tmp_path):
    random = np.random.default_rng(0)
    folder, (images, labels, sitter) = tmp_path / "data" / "smiles", sitters(random)
    strangers, answers, _ = sitters(random)
    write_competition(folder, images, labels, strangers, answers)
    submit = ("submit", "--competition", "smiles", "--models", "knn", "svm")

    def out_of_fold() -> float:
        done = command(*submit)
        assert done.returncode == 0, done.stderr
        return float(re.search(r"submitted: \S+ ([\d.]+) ±", done.stdout)[1])

    flattered = out_of_fold()
    table = pd.read_csv(folder / "train.csv")
    pd.concat([pd.Series(sitter, name="sitter"), table], axis=1).to_csv(folder / "train.csv", index=False)
    (folder / FILE).write_text('group = "sitter"')
    assert "splits other data than lies there now" in command(*submit).stderr
    (tmp_path / "folds" / "smiles" / "5-folds-seed-0").rename(tmp_path / "folds" / "smiles" / "old")
    honest = out_of_fold()
    graded = command("grade", "--competition", "smiles").stdout
    truth = float(re.search(r"all\s+480\s+\d+\s+([\d.]+) ±", graded)[1])
    assert flattered > 99 and flattered - truth > 10, (flattered, truth)
    assert abs(honest - truth) < 5, (honest, truth)
    print(f"without groups {flattered} % out of fold, with groups {honest} %, on strangers {truth} %")
