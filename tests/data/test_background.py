import numpy as np
import pytest

from competition.data.background import edge_brightness, find_background

RNG = np.random.default_rng(0)


def images_with_edges(values):
    images = RNG.integers(0, 256, (len(values), 12, 10, 1), dtype=np.uint8)
    for image, value in zip(images, values, strict=True):
        image[[0, -1]] = image[:, [0, -1]] = value
    return images


def background_of(images):
    return find_background(edge_brightness(images), images.max())


@pytest.mark.parametrize(("value", "background"), [(0, "dark"), (60, "dark"), (255, "light"), (200, "light")])
def test_most_images_decide(value, background):
    assert background_of(images_with_edges([value] * 39 + [255 - value])) == background


def test_images_that_differ_have_no_background():
    assert background_of(images_with_edges([0, 255] * 20)) is None


def test_the_brightest_pixel_counts_as_white():
    dim = (images_with_edges([255] * 20) // 16).astype(np.uint8)
    assert background_of(dim) == "light"
    assert background_of(np.zeros_like(dim)) == "dark"
