import numpy as np
import pytest

from competition.models.networks.border import (
    MIN_SIDE,
    Border,
    find_blank_border,
    respect_symmetries,
    shows_glyphs,
)

RNG = np.random.default_rng(0)


def framed(shape, background=0, count=50):
    """Random images whose outer rows and columns are of one colour: 3 above, 1 below, 2 left, 4 right."""
    images = np.full((count, *shape), background, dtype=np.uint8)
    images[:, 3:-1, 2:-4] = RNG.integers(0, 256, images[:, 3:-1, 2:-4].shape)
    return images


@pytest.mark.parametrize("background", [0, 255, (255, 0, 0)])
def test_a_blank_border_is_found_whatever_its_colour(background):
    assert find_blank_border(framed((28, 28, 3), background)) == Border(3, 1, 2, 4)


def test_a_few_images_that_reach_the_edge_do_not_matter():
    images = framed((28, 28, 1), count=200)
    images[0] = RNG.integers(0, 256, images[0].shape)
    assert find_blank_border(images) == Border(3, 1, 2, 4)


def test_a_border_that_differs_between_images_is_kept():
    images = framed((28, 28, 1))
    images[::2, 0] = 255
    assert find_blank_border(images) == Border(0, 1, 0, 0)  # the upper edge is part of the left and right ones


def test_nothing_is_cut_off_photographs():
    photographs = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    assert find_blank_border(photographs) == Border(0, 0, 0, 0)


def test_blank_images_keep_their_size():
    assert find_blank_border(np.zeros((5, 28, 28, 1), np.uint8)) == Border(0, 0, 0, 0)


@pytest.mark.parametrize(("start", "stop"), [(13, 15), (0, 3), (25, 28)])
def test_what_remains_is_large_enough_for_a_network(start, stop):
    images = np.zeros((5, 28, 10, 1), np.uint8)
    images[:, start:stop, 4:6] = RNG.integers(0, 256, (5, stop - start, 2, 1))
    top, bottom, left, right = find_blank_border(images)
    assert 28 - top - bottom == MIN_SIDE and 10 - left - right == MIN_SIDE
    assert min(top, bottom, left, right) >= 0 and top <= start and bottom <= 28 - stop


def test_glyphs_are_grey_with_a_blank_border_on_all_sides():
    assert shows_glyphs(framed((28, 28, 1)))
    assert shows_glyphs(framed((28, 28, 1), background=255))
    assert not shows_glyphs(framed((28, 28, 1), background=128))
    assert not shows_glyphs(framed((28, 28, 3)))
    assert not shows_glyphs(framed((28, 28, 1))[:, 3:])  # reaches the upper edge


def test_the_border_is_symmetric_where_images_are():
    border = Border(3, 1, 2, 4)
    assert respect_symmetries(border, ()) == border
    assert respect_symmetries(border, ("left-right",)) == Border(3, 1, 2, 2)
    assert respect_symmetries(border, ("left-right", "upside-down")) == Border(1, 1, 2, 2)
    assert respect_symmetries(border, ("quarter turns",)) == Border(1, 1, 1, 1)
