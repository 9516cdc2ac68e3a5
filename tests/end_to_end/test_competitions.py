"""Competitions of other kinds, through the whole road; what is promised for them is seen to be true."""

import re
import string

import font_caladea
import font_fredoka_one
import font_manrope
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from competition.data.config import FILE
from competition.data.practice import write_competition

FONTS = [path for fonts in (font_caladea, font_fredoka_one, font_manrope) for path in fonts.font_files.values()]
J = string.ascii_lowercase.index("j")
SIDE, SITTERS, PICTURES = 12, 60, 8


def sitters(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Portraits: each sitter has a look of its own, and smiles in all pictures or in none, which shows a little."""
    looks, smiles = random.integers(0, 150, (SITTERS, SIDE, SIDE)), np.arange(SITTERS) % 2
    images = looks[:, None] + random.integers(0, 40, (SITTERS, PICTURES, SIDE, SIDE))
    images[..., 8, 2:10] += (55 * smiles)[:, None, None]
    rows = images.clip(0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)
    return rows, np.repeat(smiles, PICTURES), np.repeat(np.arange(SITTERS), PICTURES)


def letters(random: np.random.Generator, rows: int, side: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Small letters of many fonts, a little turned and noisy; there is no j, whose number stays unused."""
    labels = random.choice(np.delete(np.arange(26), J), rows)
    images = np.empty((rows, side, side))
    for image, label in zip(images, labels, strict=True):
        page = Image.new("L", (side, side))
        font = ImageFont.truetype(FONTS[random.integers(len(FONTS))], random.integers(15, 23))
        place = side * np.array([0.5, 0.7]) + random.uniform(-2, 2, 2)
        ImageDraw.Draw(page).text(tuple(place), string.ascii_lowercase[label], 255, font, anchor="ms")
        image[:] = page.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
    images += random.normal(0, 25, images.shape)
    return images.clip(0, 255).astype(np.uint8).reshape(rows, -1), labels


def textures(random: np.random.Generator, rows: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Lying, standing and waving stripes, checks, dots and rings, in two colours and noise; mirrored they stay so."""
    y, x = np.mgrid[:side, :side].astype(float)
    labels = np.arange(rows) % 6
    images = np.empty((rows, side, side, 3))
    for image, label in zip(images, labels, strict=True):
        pace, bend = random.uniform(0.5, 1.1), random.uniform(-0.25, 0.25)
        one, other = random.uniform(0, 2 * np.pi, 2)
        centre = random.uniform(0, side, 2)
        patterns = (
            _steep(pace * y + bend * x + one),
            _steep(pace * x + bend * y + one),
            _steep(pace * y + 1.5 * np.sin(pace * x / 2 + other) + one),
            (np.sin(pace * x / 1.5 + one) > 0) ^ (np.sin(pace * y / 1.5 + other) > 0),
            np.clip(np.sin(pace * x + one) * np.sin(pace * y + other), 0, 1),
            _steep(pace * np.hypot(y - centre[0], x - centre[1]) + one),
        )
        dark, light = random.integers(0, 256, (2, 3))
        image[:] = dark + (light - dark) * patterns[label][..., None]
    images += random.normal(0, 40, images.shape)
    return images.clip(0, 255).astype(np.uint8).reshape(rows, -1), labels


def _steep(way: np.ndarray) -> np.ndarray:
    """A wave that rises slowly and falls at once."""
    return way / (2 * np.pi) % 1


def scores(command, *words: str, name: str) -> tuple[str, float, float]:
    """What a submission told, and its accuracy out of fold and under seal."""
    done = command("submit", "--competition", name, *words)
    assert done.returncode == 0, done.stderr
    promised = float(re.search(r"now blends .*: ([\d.]+) ±", done.stdout)[1])
    graded = command("grade", "--competition", name).stdout
    return done.stdout, promised, float(re.search(r"all\s+\d+\s+\d+\s+([\d.]+) ±", graded)[1])


def test_where_log_loss_wins_probabilities_are_submitted_and_scored(command, own_competition, tmp_path):
    asked = {"id": np.arange(1, 201)} | {f"is_{digit}": 0.1 for digit in range(10)}
    pd.DataFrame(asked).to_csv(own_competition / "sample_submission.csv", index=False)
    (own_competition / FILE).write_text('metric = "log loss"')
    small = "--competition", "digits8"
    assert (
        "to be submitted: probabilities, in column is_0, is_1, is_2 ...; metric: log loss"
        in command("data", *small).stdout
    )
    done = command("submit", *small, "--folds", "2", "--models", "knn", "mlp")
    assert done.returncode == 0, done.stderr
    said = pd.read_csv(tmp_path / "submissions" / "submission.csv", index_col="id").to_numpy()
    answers = pd.read_csv(own_competition / "sealed" / "answers.csv")["Label"]
    loss = -np.log(said[np.arange(200), answers]).mean()
    assert np.allclose(said.sum(axis=1), 1, atol=1e-4) and loss < 1
    ledger = pd.read_csv(tmp_path / "submissions" / "ledger.csv").iloc[0]
    assert ledger["metric"] == "log loss" and f"log loss {ledger['local']:.4f} ±" in done.stdout
    assert re.findall(r"^ (\w+) +0\.\d+ ±", done.stdout, re.M)[:2] == ["knn", "mlp"]  # less is better
    assert f"log loss: {loss:.4f} ±" in command("grade", *small).stdout
    scored = command("score", *small, "--value", f"{loss + 9}").stdout
    assert f"{ledger['local']:.4f} ± {ledger['local_error']:.4f} out of fold" in scored and "news: look for" in scored


@pytest.mark.slow
def test_of_two_classes_it_is_told_whether_labels_or_probabilities_are_submitted(command, own_competition, tmp_path):
    train = pd.read_csv(own_competition / "train.csv")
    train.assign(label=train["label"] % 2).to_csv(own_competition / "train.csv", index=False)
    (tmp_path / "mine.py").write_text("def auc(labels, said):\n    return said[labels == 1, 1].mean()\n")
    (own_competition / FILE).write_text('metric = "mine:auc"')
    submit = ("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    asked = command(*submit)
    assert asked.returncode == 2 and 'tell answer = "labels" or answer = "probabilities" in' in asked.stderr
    for number, answer in enumerate(("labels", "probabilities"), 1):
        (own_competition / FILE).write_text(f'metric = "mine:auc"\nanswer = "{answer}"')
        assert f"submission {number}: " in command(*submit).stdout
        said = pd.read_csv(tmp_path / "submissions" / "submission.csv")["Label"]
        assert set(said) <= {0, 1} if answer == "labels" else said.between(0, 1, inclusive="neither").all()
        assert "byte for byte" in command("reproduce", "--competition", "digits8").stdout
    (own_competition / FILE).write_text('metric = "AUC"')
    assert "submission 3: " in command(*submit).stdout


def test_a_competition_is_won_by_a_function_of_ones_own(command, own_competition, tmp_path):
    prize = "def gain(labels, said):\n    return 7 + (said.argmax(axis=1) == labels).mean()\n"
    (tmp_path / "prize.py").write_text(prize)
    (own_competition / FILE).write_text('metric = "prize:gain"')
    done = command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    assert "submission.csv now blends knn (mean): prize:gain 7.9" in done.stdout, done.stderr
    assert "prize:gain 7.9" in (tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "report.html").read_text()
    (own_competition / FILE).write_text('metric = "prize:loss"')
    failed = command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    assert "competition.toml: the metric prize:loss cannot be had" in failed.stderr and failed.returncode == 2


@pytest.mark.slow
def test_letters_are_told_apart_and_not_mirrored(command, tmp_path):
    random = np.random.default_rng(0)
    write_competition(tmp_path / "data" / "letters", *letters(random, 3000), *letters(random, 2000))
    told, promised, truth = scores(command, "--models", "quick", "svm", name="letters")
    assert "augmented" not in told
    submitted = pd.read_csv(tmp_path / "submissions" / "submission.csv")["Label"]
    assert J not in set(submitted) and set(submitted) == set(range(26)) - {J}
    assert promised > 96 and promised - truth < 1, (promised, truth)
    print(f"letters: {promised} % out of fold, {truth} % under seal")


@pytest.mark.slow
def test_textures_are_mirrored_which_helps(command, tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "textures"
    write_competition(folder, *textures(random, 4000), *textures(random, 2000))
    told, promised, truth = scores(command, "--models", "quick", "--folds", "2", name="textures")
    # Each fold decides by its own 2,000 rows, in which the lesser of two helping mirrorings may stay unproved.
    assert told.count("augmented by") == told.count("upside-down") == 2
    assert "augmented by left-right" in told and "turns" not in told
    assert promised - truth < 2, (promised, truth)
    (folder / FILE).write_text("symmetries = []")
    plain, *without = scores(command, "--models", "quick", "--folds", "2", name="textures")
    assert "augmented" not in plain and "made with another recipe" in plain
    assert promised + truth > sum(without), (promised, truth, without)
    print(f"textures: {promised} % out of fold, {truth} % under seal; not mirrored {without[0]} and {without[1]} %")


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
