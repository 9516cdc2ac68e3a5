from dataclasses import replace

import keras
import numpy as np
import pytest

from competition.data.augmentation import LIMITS, SYMMETRIES, Augmentation
from competition.models.networks.augmentation import AdjustableAugmentation, RandomAugmentation

NO_AUGMENTATION = Augmentation(rotation=0, shift=0, zoom=0, shear=0)


@pytest.fixture
def blobs():
    """200 copies of a 20x20 image with a blob off the centre, which no augmentation moves out of the image."""
    y, x = np.mgrid[:20, :20]
    blob = np.exp(-((y - 9) ** 2 + (x - 12) ** 2) / 8).astype(np.float32)
    return np.repeat(blob[None, :, :, None], 200, axis=0)


def augment(images, augmentation, seed=0):
    return keras.ops.convert_to_numpy(RandomAugmentation(augmentation, seed)(images, training=True))


def blob_centres(images):
    mass = images.sum(axis=(1, 2, 3))
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    return (images[..., 0] * y).sum(axis=(1, 2)) / mass, (images[..., 0] * x).sum(axis=(1, 2)) / mass


def test_zero_augmentation_changes_nothing(blobs):
    assert np.allclose(augment(blobs, NO_AUGMENTATION), blobs, atol=1e-5)


def test_images_are_not_augmented_outside_training(blobs):
    assert (keras.ops.convert_to_numpy(RandomAugmentation(Augmentation(), 0)(blobs, training=False)) == blobs).all()


def test_shifts_use_their_full_range(blobs):
    y, x = blob_centres(augment(blobs, Augmentation(rotation=0, shift=0.1, zoom=0, shear=0)))
    for shift in (y - 9, x - 12):
        assert np.abs(shift).max() < 2.1 and shift.max() > 1.5 and shift.min() < -1.5


def test_rotations_are_about_the_centre_and_use_their_full_range(blobs):
    y, x = blob_centres(augment(blobs, Augmentation(rotation=15, shift=0, zoom=0, shear=0)))
    original_angle = np.arctan2(9 - 9.5, 12 - 9.5)
    degrees = np.degrees(np.arctan2(y - 9.5, x - 9.5) - original_angle)
    assert 12 < np.abs(degrees).max() < 16
    assert np.allclose(np.hypot(y - 9.5, x - 9.5), np.hypot(0.5, 2.5), atol=0.1)


def test_augmentation_depends_only_on_the_seed(blobs):
    assert (augment(blobs, Augmentation(), seed=1) == augment(blobs, Augmentation(), seed=1)).all()
    assert (augment(blobs, Augmentation(), seed=1) != augment(blobs, Augmentation(), seed=2)).any()


def count_positions(blobs, *symmetries):
    """How often the blob's centre is at each position, by (y, x)."""
    y, x = blob_centres(augment(blobs, replace(NO_AUGMENTATION, symmetries=symmetries)))
    positions, counts = np.unique(np.round([y, x], 2), axis=1, return_counts=True)
    return dict(zip(map(tuple, positions.T), counts, strict=True))


def test_about_half_of_the_images_are_mirrored(blobs):
    assert count_positions(blobs) == {(9, 12): 200}
    horizontal, vertical = count_positions(blobs, "left-right"), count_positions(blobs, "upside-down")
    assert set(horizontal) == {(9, 12), (9, 7)} and 70 < horizontal[9, 7] < 130
    assert set(vertical) == {(9, 12), (10, 12)} and 70 < vertical[10, 12] < 130


def test_all_four_quarter_turns_are_about_equally_frequent(blobs):
    counts = count_positions(blobs, "quarter turns")
    assert set(counts) == {(9, 12), (12, 10), (10, 7), (7, 9)} and min(counts.values()) > 30


def test_disabled_symmetries_do_not_change_the_random_draws(blobs):
    assert (augment(blobs, replace(Augmentation(), symmetries=())) == augment(blobs, Augmentation())).all()


@pytest.mark.parametrize("name", LIMITS)
def test_an_adjusted_augmentation_changes_images_like_one_that_was_made_with_these_limits(name, blobs):
    layer = AdjustableAugmentation(seed=0)
    layer.adjust(replace(Augmentation(), symmetries=SYMMETRIES, shear=0.9))
    adjusted = replace(Augmentation(), symmetries=SYMMETRIES, strength=0.5, **{name: 0.3})
    layer.adjust(adjusted)
    expected = augment(blobs, adjusted)
    assert np.allclose(keras.ops.convert_to_numpy(layer(blobs, training=True)), expected, atol=1e-5)
    assert not np.allclose(augment(blobs, replace(adjusted, **{name: 0.0})), expected, atol=1e-3)


def test_an_adjusted_augmentation_draws_the_same_numbers_whatever_its_symmetries(blobs):
    layers = [AdjustableAugmentation(seed=0) for _ in range(2)]
    layers[0].adjust(NO_AUGMENTATION)
    layers[1].adjust(replace(NO_AUGMENTATION, symmetries=("upside-down",)))
    plain, mirrored = (blob_centres(keras.ops.convert_to_numpy(layer(blobs, training=True))) for layer in layers)
    assert np.allclose(plain[1], mirrored[1], atol=0.01) and not np.allclose(plain[0], mirrored[0], atol=0.5)
    for layer in layers:
        layer.adjust(Augmentation())
    again = [keras.ops.convert_to_numpy(layer(blobs, training=True)) for layer in layers]
    assert (again[0] == again[1]).all()
