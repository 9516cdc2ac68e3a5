from dataclasses import replace

import keras
import numpy as np
import pytest

from competition.data.augmentation import Warp
from competition.models.networks.augmentation import RandomWarp

STILL = Warp(rotation=0, shift=0, zoom=0, shear=0)


@pytest.fixture
def blobs():
    """Images 20x20 with a soft blob off the centre, which stays inside under all warps."""
    y, x = np.mgrid[:20, :20]
    blob = np.exp(-((y - 9) ** 2 + (x - 12) ** 2) / 8).astype(np.float32)
    return np.repeat(blob[None, :, :, None], 200, axis=0)


def warped(images, warp, seed=0):
    return keras.ops.convert_to_numpy(RandomWarp(warp, seed)(images, training=True))


def centre(images):
    mass = images.sum(axis=(1, 2, 3))
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    return (images[..., 0] * y).sum(axis=(1, 2)) / mass, (images[..., 0] * x).sum(axis=(1, 2)) / mass


def test_a_warp_of_nothing_changes_nothing(blobs):
    assert np.allclose(warped(blobs, STILL), blobs, atol=1e-5)


def test_predictions_see_images_as_they_are(blobs):
    assert (keras.ops.convert_to_numpy(RandomWarp(Warp(), 0)(blobs, training=False)) == blobs).all()


def test_shifts_stay_within_their_range_and_fill_it(blobs):
    y, x = centre(warped(blobs, Warp(rotation=0, shift=0.1, zoom=0, shear=0)))
    for moved in (y - 9, x - 12):
        assert np.abs(moved).max() < 2.1 and moved.max() > 1.5 and moved.min() < -1.5


def test_rotation_turns_about_the_centre_by_no_more_than_asked(blobs):
    y, x = centre(warped(blobs, Warp(rotation=15, shift=0, zoom=0, shear=0)))
    start = np.arctan2(9 - 9.5, 12 - 9.5)
    turned = np.degrees(np.arctan2(y - 9.5, x - 9.5) - start)
    assert 12 < np.abs(turned).max() < 16
    assert np.allclose(np.hypot(y - 9.5, x - 9.5), np.hypot(0.5, 2.5), atol=0.1)


def test_the_seed_decides(blobs):
    assert (warped(blobs, Warp(), seed=1) == warped(blobs, Warp(), seed=1)).all()
    assert (warped(blobs, Warp(), seed=1) != warped(blobs, Warp(), seed=2)).any()


def places(blobs, *symmetries):
    """Where the blob's centre is found, and how often."""
    y, x = centre(warped(blobs, replace(STILL, symmetries=symmetries)))
    found, counts = np.unique(np.round([y, x], 2), axis=1, return_counts=True)
    return dict(zip(map(tuple, found.T), counts, strict=True))


def test_every_other_image_is_mirrored(blobs):
    assert places(blobs) == {(9, 12): 200}
    across, down = places(blobs, "left-right"), places(blobs, "upside-down")
    assert set(across) == {(9, 12), (9, 7)} and 70 < across[9, 7] < 130
    assert set(down) == {(9, 12), (10, 12)} and 70 < down[10, 12] < 130


def test_a_quarter_of_the_images_each_is_turned_into_a_quarter(blobs):
    found = places(blobs, "quarter turns")
    assert set(found) == {(9, 12), (12, 10), (10, 7), (7, 9)} and min(found.values()) > 30


def test_symmetries_that_do_not_hold_leave_all_other_changes_as_they_were(blobs):
    assert (warped(blobs, replace(Warp(), symmetries=())) == warped(blobs, Warp())).all()
