from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ImageFont

from benchmarks.characters import CHARACTERS, DRAWINGS, SIDE, make_characters
from competition.data.practice import HELD_BACK_LABELS
from competition.errors import UserError


def test_each_character_is_drawn_equally_often_and_all_drawings_differ(tmp_path, monkeypatch):
    face = ImageFont.load_default(30)
    monkeypatch.setattr("PIL.ImageFont.truetype", lambda *arguments: face)
    (tmp_path / "font").touch()
    make_characters(tmp_path / "data", tmp_path / "font", "AMX")
    train, test = (pd.read_csv(tmp_path / "data" / f"{name}.csv") for name in ("train", "test"))
    held_back = pd.read_csv(tmp_path / "data" / HELD_BACK_LABELS)["Label"]
    for labels in (train["label"], held_back):
        assert (labels.value_counts() == DRAWINGS).all() and labels.nunique() == 3
    pixels = np.concatenate([train.iloc[:, 1:], test])
    assert len(np.unique(pixels, axis=0)) == len(pixels) == 6 * DRAWINGS
    assert pixels.shape[1] == SIDE * SIDE and (pixels.mean(axis=1) > 200).all() and (pixels.min(axis=1) < 128).all()


def test_no_character_is_listed_twice():
    assert len(set(CHARACTERS)) == len(CHARACTERS) == 210


def test_a_missing_font_is_named_with_its_package(tmp_path):
    with pytest.raises(UserError, match=r"font.ttc is missing; install .* fonts-noto-cjk-extra"):
        make_characters(tmp_path, Path(tmp_path / "font.ttc"))
