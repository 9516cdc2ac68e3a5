from dataclasses import replace

import numpy as np
import pytest
from conftest import small_digits

from competition.data.config import Config
from competition.models.hyperparameters import apply_config
from competition.models.interface import Target
from competition.models.member import Member
from competition.models.networks.symmetries import detect_symmetries
from competition.models.networks.training import Network


def stripes(rows, side=16):
    """Noisy sawtooth stripes in four directions, with labels; a sawtooth differs from its mirror image."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    labels = np.arange(rows) % 4
    gradients = np.array([(1, 0), (0, 1), (0.7, 0.7), (0.7, -0.7)])[labels] + rng.normal(0, 0.2, (rows, 2))
    phases = gradients[:, :1, None] * y + gradients[:, 1:, None] * x + rng.uniform(0, 8, (rows, 1, 1))
    images = 95 * (phases / 8 % 1) + rng.integers(0, 160, (rows, side, side))
    return images.astype(np.uint8)[..., None], labels


HORIZONTAL, VERTICAL, FALLING, RISING = range(4)


def test_symmetries_that_change_the_class_are_not_detected():
    images, labels = small_digits()
    assert detect_symmetries(images.reshape(-1, 16, 16, 1), labels, 0) == ()
    images, labels = stripes(600)
    diagonal = labels >= FALLING
    assert detect_symmetries(images[diagonal], labels[diagonal], 0) == ()


def test_mirroring_is_detected_where_it_helps():
    images, labels = stripes(600)
    axis_parallel = labels <= VERTICAL
    assert detect_symmetries(images[axis_parallel], labels[axis_parallel], 0) == ("left-right", "upside-down")


def test_quarter_turns_are_detected_where_they_help():
    images, labels = stripes(600)
    rng = np.random.default_rng(0)
    uneven = images // 2 + (np.linspace(0, 120, 16) * (labels > 5)[:, None, None, None]).astype(np.uint8)
    rotated = np.array([np.rot90(image, rng.integers(4)) for image in uneven])
    assert "quarter turns" in detect_symmetries(rotated, labels // 2, 0)


def test_a_symmetry_that_reduces_the_accuracy_of_one_class_is_rejected():
    images, labels = stripes(600)
    axis_parallel = labels <= VERTICAL
    diagonal = [images[labels == label][:40] for label in (FALLING, RISING)]
    mixed_images = np.concatenate([images[axis_parallel], *diagonal])
    mixed_labels = np.concatenate([labels[axis_parallel], np.full(40, FALLING), np.full(40, RISING)])
    assert detect_symmetries(mixed_images, mixed_labels, 0) == ()


def test_quarter_turns_require_square_images():
    images, labels = stripes(600)
    axis_parallel = labels <= VERTICAL
    assert detect_symmetries(images[axis_parallel, :12], labels[axis_parallel], 0) == ("left-right", "upside-down")


@pytest.mark.integration
def test_random_labels_rarely_have_a_symmetry():
    images, labels = stripes(400)
    counts = [
        len(detect_symmetries(images, np.random.default_rng(seed).permutation(labels), seed)) for seed in range(10)
    ]
    assert sum(counts) <= 5, counts  # of 30; two are expected


@pytest.mark.parametrize("rows", [1, 2, 99])
def test_too_few_images_have_no_symmetries(rows):
    images, labels = stripes(rows)
    assert detect_symmetries(images, labels, 0) == ()


def test_a_class_with_a_single_image_is_supported():
    images, labels = stripes(400)
    labels = np.where(np.arange(400) == 7, 5, labels)
    assert detect_symmetries(images, labels, 0) == ()
    assert detect_symmetries(images, (labels == 5).astype(int), 0) == ()


def test_configured_symmetries_take_precedence():
    quick, knn = Member.parse("quick"), Member.parse("knn")
    assert apply_config(quick, Config()) is quick and quick.recipe.augmentation.symmetries is None
    assert apply_config(quick, Config(symmetries=())).recipe.augmentation.symmetries == ()
    assert apply_config(knn, Config(symmetries=("left-right",))) is knn


@pytest.mark.integration
def test_the_remark_of_a_network_lists_the_detected_symmetries():
    images, labels = stripes(600)
    axis_parallel = labels <= VERTICAL
    recipe = replace(Member.parse("quick").recipe, epochs=1, min_steps=0)
    without_symmetries = replace(recipe, augmentation=replace(recipe.augmentation, symmetries=()))
    for tested, remark in ((recipe, "augmented with left-right flips, upside-down flips"), (without_symmetries, "")):
        model = Member.parse("mlp").spec.build(tested, 0, images.shape[1:], Target("class", 2))
        assert isinstance(model, Network)
        assert model.fit(images[axis_parallel], labels[axis_parallel], lambda epoch: None).remark == remark
