from dataclasses import replace

import numpy as np
import pytest
from conftest import small_digits

from competition.data.config import Rules
from competition.models.hyperparameters import ruled
from competition.models.member import Member
from competition.models.networks.symmetries import found
from competition.models.networks.training import Network


def stripes(rows, side=16):
    """Lying, standing, falling and rising stripes under noise, steep on one side and gentle on the other."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    labels = np.arange(rows) % 4
    across = np.array([(1, 0), (0, 1), (0.7, 0.7), (0.7, -0.7)])[labels] + random.normal(0, 0.2, (rows, 2))
    way = across[:, :1, None] * y + across[:, 1:, None] * x + random.uniform(0, 8, (rows, 1, 1))
    images = 95 * (way / 8 % 1) + random.integers(0, 160, (rows, side, side))
    return images.astype(np.uint8)[..., None], labels


LYING, STANDING, FALLING, RISING = range(4)


def test_what_mirroring_makes_another_class_is_not_mirrored():
    images, labels = small_digits()
    assert found(images.reshape(-1, 16, 16, 1), labels, 0) == ()
    images, labels = stripes(600)
    slanting = labels >= FALLING
    assert found(images[slanting], labels[slanting], 0) == ()


def test_images_are_mirrored_where_that_teaches_something():
    images, labels = stripes(600)
    upright = labels <= STANDING
    assert found(images[upright], labels[upright], 0) == ("left-right", "upside-down")


def test_images_are_turned_where_that_teaches_something():
    images, labels = stripes(600)
    random = np.random.default_rng(0)
    uneven = images // 2 + (np.linspace(0, 120, 16) * (labels > 5)[:, None, None, None]).astype(np.uint8)
    turned = np.array([np.rot90(image, random.integers(4)) for image in uneven])
    assert "quarter turns" in found(turned, labels // 2, 0)


def test_one_class_that_suffers_is_enough():
    images, labels = stripes(600)
    upright = labels <= STANDING
    harmed = np.concatenate([images[upright], *[images[labels == kind][:40] for kind in (FALLING, RISING)]])
    kinds = np.concatenate([labels[upright], np.full(40, FALLING), np.full(40, RISING)])
    assert found(harmed, kinds, 0) == ()


def test_images_that_are_no_squares_are_not_turned():
    images, labels = stripes(600)
    upright = labels <= STANDING
    assert found(images[upright, :12], labels[upright], 0) == ("left-right", "upside-down")


def test_labels_of_chance_have_hardly_a_symmetry():
    images, labels = stripes(400)
    claims = [len(found(images, np.random.default_rng(seed).permutation(labels), seed)) for seed in range(10)]
    assert sum(claims) <= 5, claims  # of 30; two are likely


@pytest.mark.parametrize("rows", [1, 2, 99])
def test_a_handful_of_images_proves_nothing(rows):
    images, labels = stripes(rows)
    assert found(images, labels, 0) == ()


def test_a_class_of_one_image_is_no_obstacle():
    images, labels = stripes(400)
    labels = np.where(np.arange(400) == 7, 5, labels)
    assert found(images, labels, 0) == ()
    assert found(images, (labels == 5).astype(int), 0) == ()


def test_the_rules_decide_where_they_tell():
    quick, knn = Member.named("quick"), Member.named("knn")
    assert ruled(quick, Rules()) is quick and quick.recipe.warp.symmetries is None
    assert ruled(quick, Rules(symmetries=())).recipe.warp.symmetries == ()
    assert ruled(knn, Rules(symmetries=("left-right",))) is knn


def test_a_network_tells_which_symmetries_it_found():
    images, labels = stripes(600)
    upright = labels <= STANDING
    recipe = replace(Member.named("quick").recipe, epochs=1, least_steps=0)
    for asked, told in ((recipe, "augmented by left-right, upside-down"), (ruled_out(recipe), "")):
        model = Member.named("mlp").spec.build(asked, 0, images.shape[1:], 2)
        assert isinstance(model, Network)
        assert model.fit(images[upright], labels[upright], lambda epoch: None).remark == told


def ruled_out(recipe):
    return replace(recipe, warp=replace(recipe.warp, symmetries=()))
