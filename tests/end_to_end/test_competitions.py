"""Complete runs on generated competitions; the out-of-fold score must agree with the test score."""

import re
import shutil
import string

import font_caladea
import font_fredoka_one
import font_manrope
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from competition.data.config import CONFIG_FILE
from competition.data.practice import write_competition

pytestmark = pytest.mark.integration

FONTS = [path for fonts in (font_caladea, font_fredoka_one, font_manrope) for path in fonts.font_files.values()]
J = string.ascii_lowercase.index("j")
SIDE, SITTERS, IMAGES_PER_SITTER = 12, 60, 8


def make_portraits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Portraits: each sitter looks different, and smiles in all images or in none, which is barely visible."""
    looks, smiles = rng.integers(0, 150, (SITTERS, SIDE, SIDE)), np.arange(SITTERS) % 2
    images = looks[:, None] + rng.integers(0, 40, (SITTERS, IMAGES_PER_SITTER, SIDE, SIDE))
    images[..., 8, 2:10] += (55 * smiles)[:, None, None]
    rows = images.clip(0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)
    return rows, np.repeat(smiles, IMAGES_PER_SITTER), np.repeat(np.arange(SITTERS), IMAGES_PER_SITTER)


def make_letters(rng: np.random.Generator, rows: int, side: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Lower-case letters in several fonts, slightly rotated and noisy; the class of j is empty."""
    labels = rng.choice(np.delete(np.arange(26), J), rows)
    images = np.empty((rows, side, side))
    for image, label in zip(images, labels, strict=True):
        canvas = Image.new("L", (side, side))
        font = ImageFont.truetype(FONTS[rng.integers(len(FONTS))], rng.integers(15, 23))
        position = side * np.array([0.5, 0.7]) + rng.uniform(-2, 2, 2)
        ImageDraw.Draw(canvas).text(tuple(position), string.ascii_lowercase[label], 255, font, anchor="ms")
        image[:] = canvas.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    images += rng.normal(0, 25, images.shape)
    return images.clip(0, 255).astype(np.uint8).reshape(rows, -1), labels


def make_textures(rng: np.random.Generator, rows: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal, vertical and wavy stripes, checks, dots and rings in two noisy colours; mirroring keeps the class."""
    y, x = np.mgrid[:side, :side].astype(float)
    labels = np.arange(rows) % 6
    images = np.empty((rows, side, side, 3))
    for image, label in zip(images, labels, strict=True):
        frequency, slope = rng.uniform(0.5, 1.1), rng.uniform(-0.25, 0.25)
        phase_1, phase_2 = rng.uniform(0, 2 * np.pi, 2)
        centre = rng.uniform(0, side, 2)
        patterns = (
            _sawtooth(frequency * y + slope * x + phase_1),
            _sawtooth(frequency * x + slope * y + phase_1),
            _sawtooth(frequency * y + 1.5 * np.sin(frequency * x / 2 + phase_2) + phase_1),
            (np.sin(frequency * x / 1.5 + phase_1) > 0) ^ (np.sin(frequency * y / 1.5 + phase_2) > 0),
            np.clip(np.sin(frequency * x + phase_1) * np.sin(frequency * y + phase_2), 0, 1),
            _sawtooth(frequency * np.hypot(y - centre[0], x - centre[1]) + phase_1),
        )
        dark, light = rng.integers(0, 256, (2, 3))
        image[:] = dark + (light - dark) * patterns[label][..., None]
    images += rng.normal(0, 40, images.shape)
    return images.clip(0, 255).astype(np.uint8).reshape(rows, -1), labels


def _sawtooth(phase: np.ndarray) -> np.ndarray:
    return phase / (2 * np.pi) % 1


def submit_and_grade(command, *arguments: str, name: str) -> tuple[str, float, float]:
    """Return the output of `submit`, and the accuracy in percent out of fold and on the held-back test labels."""
    result = command("submit", "--competition", name, *arguments)
    assert result.returncode == 0, result.stderr
    out_of_fold = float(re.search(r"now blends .*: ([\d.]+) ±", result.stdout)[1])
    graded = command("grade", "--competition", name).stdout
    return result.stdout, out_of_fold, float(re.search(r"all\s+\d+\s+\d+\s+([\d.]+) ±", graded)[1])


def test_log_loss_is_scored_on_submitted_probabilities(command, competition_copy, tmp_path):
    sample = {"id": np.arange(1, 201)} | {f"is_{digit}": 0.1 for digit in range(10)}
    pd.DataFrame(sample).to_csv(competition_copy / "sample_submission.csv", index=False)
    (competition_copy / CONFIG_FILE).write_text('metric = "log loss"')
    small = "--competition", "digits8"
    assert (
        "submission: probabilities in columns is_0, is_1, is_2 ...; metric: log loss" in command("data", *small).stdout
    )
    result = command("submit", *small, "--folds", "2", "--models", "knn mlp")
    assert result.returncode == 0, result.stderr
    probabilities = pd.read_csv(tmp_path / "submissions" / "submission.csv", index_col="id").to_numpy()
    test_labels = pd.read_csv(competition_copy / "held_back" / "labels.csv")["Label"]
    loss = -np.log(probabilities[np.arange(200), test_labels]).mean()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4) and loss < 1
    log = pd.read_csv(tmp_path / "submissions" / "log.csv").iloc[0]
    assert log["metric"] == "log loss" and f"log loss {log['cv']:.4f} ±" in result.stdout
    assert re.findall(r"^ (\w+) +0\.\d+ ±", result.stdout, re.M)[:2] == ["knn", "mlp"]  # lower is better
    assert f"log loss: {loss:.4f} ±" in command("grade", *small).stdout
    shutil.rmtree(competition_copy / "held_back")  # as in a competition on Kaggle
    output = command("record-score", *small, "--value", f"{loss + 9}").stdout
    assert (
        f"{log['cv']:.4f} ± {log['cv_standard_error']:.4f} out of fold" in output and "significant; check for" in output
    )


@pytest.mark.slow
def test_a_custom_metric_of_two_classes_requires_submission_in_the_configuration(command, competition_copy, tmp_path):
    train = pd.read_csv(competition_copy / "train.csv")
    train.assign(label=train["label"] % 2).to_csv(competition_copy / "train.csv", index=False)
    (tmp_path / "mine.py").write_text(
        "def mean_probability(labels, probabilities):\n    return probabilities[labels == 1, 1].mean()\n"
    )
    (competition_copy / CONFIG_FILE).write_text('metric = "mine:mean_probability"')
    submit = ("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    failed = command(*submit)
    assert failed.returncode == 2 and 'set submission = "labels" or submission = "probabilities" in' in failed.stderr
    for number, content in enumerate(("labels", "probabilities"), 1):
        (competition_copy / CONFIG_FILE).write_text(f'metric = "mine:mean_probability"\nsubmission = "{content}"')
        assert f"submission {number}: " in command(*submit).stdout
        column = pd.read_csv(tmp_path / "submissions" / "submission.csv")["Label"]
        assert set(column) <= {0, 1} if content == "labels" else column.between(0, 1, inclusive="neither").all()
        assert "byte for byte" in command("reproduce", "--competition", "digits8").stdout
    (competition_copy / CONFIG_FILE).write_text('metric = "AUC"')
    assert "submission 3: " in command(*submit).stdout


def test_a_custom_metric_is_printed_and_reported(command, competition_copy, tmp_path):
    source = "def gain(labels, probabilities):\n    return 7 + (probabilities.argmax(axis=1) == labels).mean()\n"
    (tmp_path / "prize.py").write_text(source)
    (competition_copy / CONFIG_FILE).write_text('metric = "prize:gain"')
    result = command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    assert "submission.csv now blends knn (mean): prize:gain 7.9" in result.stdout, result.stderr
    assert "prize:gain 7.9" in (tmp_path / "folds" / "digits8" / "2-folds-seed-0" / "report.html").read_text()
    (competition_copy / CONFIG_FILE).write_text('metric = "prize:loss"')
    failed = command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    assert "competition.toml: metric prize:loss cannot be imported" in failed.stderr and failed.returncode == 2


@pytest.mark.slow
def test_letters_are_classified_without_mirroring(command, tmp_path):
    rng = np.random.default_rng(0)
    write_competition(tmp_path / "data" / "letters", *make_letters(rng, 3000), *make_letters(rng, 2000))
    output, out_of_fold, test_score = submit_and_grade(command, "--models", "quick svm", name="letters")
    assert "augmented" not in output
    submitted = pd.read_csv(tmp_path / "submissions" / "submission.csv")["Label"]
    assert J not in set(submitted) and set(submitted) == set(range(26)) - {J}
    assert out_of_fold > 96 and out_of_fold - test_score < 1, (out_of_fold, test_score)
    print(f"letters: {out_of_fold} % out of fold, {test_score} % on the test rows")


@pytest.mark.slow
def test_mirroring_textures_improves_the_score(command, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "textures"
    write_competition(folder, *make_textures(rng, 4000), *make_textures(rng, 2000))
    output, out_of_fold, test_score = submit_and_grade(command, "--models", "quick", "--folds", "2", name="textures")
    # Each fold detects symmetries in its own 2,000 rows, where the weaker of the two may not be significant.
    assert output.count("augmented with") == output.count("upside-down") == 2
    assert "augmented with left-right flips" in output and "turns" not in output
    assert out_of_fold - test_score < 2, (out_of_fold, test_score)
    (folder / CONFIG_FILE).write_text("symmetries = []")
    output, *scores_without = submit_and_grade(command, "--models", "quick", "--folds", "2", name="textures")
    assert "augmented" not in output and "made with different recipe" in output
    assert out_of_fold + test_score > sum(scores_without), (out_of_fold, test_score, scores_without)
    print(f"textures: {out_of_fold} % out of fold, {test_score} % on the test rows")
    print(f"textures without mirroring: {scores_without[0]} % and {scores_without[1]} %")


@pytest.mark.slow
def test_folds_by_group_avoid_an_optimistic_score(command, tmp_path):
    rng = np.random.default_rng(0)
    folder, (images, labels, sitter) = tmp_path / "data" / "smiles", make_portraits(rng)
    test_images, test_labels, _ = make_portraits(rng)
    write_competition(folder, images, labels, test_images, test_labels)
    submit = ("submit", "--competition", "smiles", "--models", "knn svm")

    def out_of_fold_score() -> float:
        result = command(*submit)
        assert result.returncode == 0, result.stderr
        return float(re.search(r"submitted: \S+ ([\d.]+) ±", result.stdout)[1])

    optimistic = out_of_fold_score()
    table = pd.read_csv(folder / "train.csv")
    pd.concat([pd.Series(sitter, name="sitter"), table], axis=1).to_csv(folder / "train.csv", index=False)
    (folder / CONFIG_FILE).write_text('group = "sitter"')
    assert "belongs to different data" in command(*submit).stderr
    (tmp_path / "folds" / "smiles" / "5-folds-seed-0").rename(tmp_path / "folds" / "smiles" / "old")
    unbiased = out_of_fold_score()
    graded = command("grade", "--competition", "smiles").stdout
    test_score = float(re.search(r"all\s+480\s+\d+\s+([\d.]+) ±", graded)[1])
    assert optimistic > 99 and optimistic - test_score > 10, (optimistic, test_score)
    assert abs(unbiased - test_score) < 5, (unbiased, test_score)
    print(f"without groups {optimistic} % out of fold, with groups {unbiased} %, on new sitters {test_score} %")
