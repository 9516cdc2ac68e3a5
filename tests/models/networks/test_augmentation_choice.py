from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from competition.data.augmentation import Augmentation
from competition.models.networks.augmentation_choice import (
    MIN_STEPS,
    choose_augmentation,
    compares_augmentations,
    describe_choice,
)

SIDE = 20


class NearestMean:
    """Predicts the class whose mean training image, over augmented copies, is nearest."""

    def __init__(self, images, labels, transforms):
        copies = np.concatenate([transform(images) for transform in transforms]).astype(float)
        repeated = np.tile(labels, len(transforms))
        self.means = np.array([copies[repeated == label].mean(axis=0).ravel() for label in np.unique(labels)])

    def predict_proba(self, images):
        distances = ((images.reshape(len(images), 1, -1) - self.means) ** 2).sum(axis=2)
        powers = np.exp((distances.min(axis=1, keepdims=True) - distances) / 200_000)
        return powers / powers.sum(axis=1, keepdims=True)


def shifted(pixels):
    return lambda images: np.roll(images, pixels, axis=2)


def train(images, labels, augmentation):
    """Train as a network would: on images shifted by as much as the augmentation's limit, and mirrored ones."""
    pixels = round(augmentation.scaled().shift * SIDE)
    transforms = [shifted(offset) for offset in range(-pixels, pixels + 1)]
    if "left-right" in augmentation.symmetries:
        transforms += [lambda images: images[:, :, ::-1]]
    if "upside-down" in augmentation.symmetries:
        transforms += [lambda images: images[:, ::-1]]
    return NearestMean(images, labels, transforms)


def make_train_function(images, labels):
    return partial(train, images, labels)


def bars(rows, spread):
    """Noisy images on grey of a bar left or right of the centre, which is the class, displaced by up to `spread`."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    images = rng.integers(60, 140, (rows, SIDE, SIDE, 1))
    for image, label in zip(images, labels, strict=True):
        column = (5 if label else 14) + rng.integers(-spread, spread + 1)
        image[:, column - 1 : column + 1] += 60
    return images.astype(np.uint8), labels


OPEN = Augmentation(rotation=0, shift=0.4, zoom=0, shear=0)


def test_a_mirror_image_that_changes_the_class_is_rejected_and_one_that_keeps_it_is_used():
    images, labels = bars(600, spread=1)
    fixed = replace(OPEN, strength=0.0)
    assert "left-right" not in choose_augmentation(images, labels, fixed, 0, make_train_function).symmetries
    turned = np.swapaxes(images, 1, 2)
    assert choose_augmentation(turned, labels, fixed, 0, make_train_function).symmetries == ("left-right",)


def test_augmentation_that_confuses_classes_is_weakened():
    images, labels = bars(600, spread=1)
    assert choose_augmentation(images, labels, replace(OPEN, symmetries=()), 0, make_train_function).strength < 1


def test_augmentation_that_makes_no_difference_keeps_its_strength():
    images, labels = bars(600, spread=1)

    def without_augmentation(images, labels):
        return lambda augmentation: train(images, labels, replace(OPEN, symmetries=(), shift=0))

    assert choose_augmentation(images, labels, OPEN, 0, without_augmentation).strength == 1


def tried(images, labels, augmentation):
    """The augmentations with which small networks are trained."""
    augmentations = []

    def create(images, labels):
        return lambda other: (augmentations.append(other), train(images, labels, other))[1]

    choose_augmentation(images, labels, augmentation, 0, create)
    return augmentations


def test_what_is_given_is_not_measured():
    images, labels = bars(600, spread=1)
    given = replace(OPEN, strength=0.0)
    assert {augmentation.strength for augmentation in tried(images, labels, given)} == {0.0}


def test_images_that_cannot_be_mirrored_are_not_turned_either():
    images, labels = bars(600, spread=1)
    augmentations = tried(images, labels, replace(OPEN, shift=0.1))
    assert {augmentation.symmetries for augmentation in augmentations} == {(), ("left-right",)}


def test_mirror_images_are_compared_at_the_chosen_strength_and_turned_ones_without_other_augmentation():
    images, labels = bars(600, spread=1)
    augmentations = tried(np.swapaxes(images, 1, 2), labels, OPEN)  # whose shift does not matter
    strengths = {augmentation.symmetries: augmentation.strength for augmentation in augmentations}
    turned = [strength for symmetries, strength in strengths.items() if len(symmetries) > 1]
    assert set(turned) == {0.0}
    mirrored = [augmentation for augmentation in augmentations if augmentation.symmetries == ("left-right",)]
    assert [augmentation.strength for augmentation in mirrored] == [1.0, 0.0]


class Imperfect:
    """Predicts bars, but so many of each hundred rows wrongly, from this row on."""

    def __init__(self, wrong, first):
        self.wrong, self.first = wrong, first

    def predict_proba(self, images):
        right_half, left_half = images[:, :, SIDE // 2 :], images[:, :, : SIDE // 2]
        is_left = left_half.mean(axis=(1, 2, 3)) > right_half.mean(axis=(1, 2, 3))
        is_wrong = (np.arange(len(images)) - self.first) % 100 < self.wrong
        return np.where((is_left != is_wrong)[:, None], [0.1, 0.9], [0.9, 0.1])


@pytest.mark.parametrize(
    ("rows", "wrong", "first", "is_mirrored"),
    [
        (9_000, 21, 0, True),  # significant, but less than a tenth
        (9_000, 26, 0, False),
        (300, 26, 0, False),
        (300, 26, 50, True),  # more than a tenth, but other rows are wrong, which increases the standard error
    ],
)
def test_mirror_images_may_raise_the_loss_by_a_tenth_or_a_standard_error(rows, wrong, first, is_mirrored):
    images, labels = bars(rows, spread=1)

    def make(images, labels):
        return lambda augmentation: Imperfect(wrong, first) if augmentation.symmetries else Imperfect(20, 0)

    chosen = choose_augmentation(images, labels, replace(OPEN, strength=1.0), 0, make)
    assert chosen.symmetries == (("left-right",) if is_mirrored else ())


def test_only_square_images_are_turned_by_a_quarter():
    images, labels = bars(600, spread=1)
    turned = np.swapaxes(images, 1, 2)
    symmetries = {augmentation.symmetries for augmentation in tried(turned[:, :, 2:], labels, OPEN)}
    assert symmetries == {(), ("left-right",), ("left-right", "upside-down")}
    assert any("quarter turns" in augmentation.symmetries for augmentation in tried(turned, labels, OPEN))


def test_light_glyphs_on_black_keep_the_augmentation_of_the_recipe():
    images = np.zeros((400, 28, 28, 1), np.uint8)
    images[:, 8:20, 8:20] = np.random.default_rng(0).integers(0, 255, (400, 12, 12, 1))
    assert not compares_augmentations(images, Augmentation(), MIN_STEPS)
    chosen = choose_augmentation(images, np.arange(400) % 2, Augmentation(), 0, None)
    assert chosen == Augmentation(symmetries=(), strength=1.0)


def test_augmentations_are_compared_for_long_training_runs_on_enough_images_unless_everything_is_given():
    images, _ = bars(600, spread=1)
    assert compares_augmentations(images, Augmentation(), MIN_STEPS)
    assert not compares_augmentations(images, Augmentation(), MIN_STEPS - 1)
    assert not compares_augmentations(images[:200], Augmentation(), MIN_STEPS)
    assert not compares_augmentations(images[:, :8], Augmentation(), MIN_STEPS)
    assert not compares_augmentations(images, Augmentation(symmetries=(), strength=0.5), MIN_STEPS)
    assert not compares_augmentations(images, None, MIN_STEPS)


def test_the_description_names_what_differs_from_the_recipe():
    assert describe_choice(Augmentation(symmetries=(), strength=1.0)) == ""
    half = Augmentation(symmetries=("left-right",), strength=0.5)
    assert describe_choice(half) == "augmented with left-right flips; 50% of the rotation, shift, zoom and shear"


@pytest.mark.parametrize("several_labels", [False, True])
def test_augmentation_with_which_a_small_network_diverges_is_not_used(several_labels):
    images, classes = bars(600, spread=1)
    labels = np.eye(2, dtype=int)[classes] if several_labels else classes

    def create(images, labels):
        def train_or_diverge(augmentation):
            if augmentation.strength:
                raise FloatingPointError("training diverged")
            return NearestMean(images, labels if labels.ndim == 1 else labels[:, 1], [shifted(0)])

        return train_or_diverge

    assert choose_augmentation(images, labels, replace(OPEN, symmetries=()), 0, create).strength == 0
