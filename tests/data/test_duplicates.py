import numpy as np
import pytest

from competition.data.duplicates import near_pairs

CHANGES = {
    "moved": lambda image: np.roll(image, (1, -1), (0, 1)),
    "darker": lambda image: (0.7 * image + 20).astype(np.uint8),
    "a speck": lambda image: np.where(np.arange(image.size).reshape(image.shape) == 5, 90, image).astype(np.uint8),
    "noise": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


@pytest.fixture
def framed(dataset):
    """The digits with room to move in."""
    return np.pad(dataset.images, ((0, 0), (4, 4), (4, 4), (0, 0)))


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_slightly_changed_is_found(change, framed):
    rows = np.arange(0, 60, 2)
    changed = np.stack([CHANGES[change](image) for image in framed[rows]])
    found = set(near_pairs([framed, changed]))
    planted = {(int(row), len(framed) + number) for number, row in enumerate(rows)}
    assert len(found & planted) >= 0.85 * len(planted)
    assert len(found - planted) <= 0.02 * len(framed)


def test_digits_of_different_hands_are_hardly_ever_taken_for_copies(dataset):
    assert len(list(near_pairs([dataset.images]))) <= 0.02 * len(dataset.images)


def test_exact_copies_are_left_to_others(dataset):
    twice = np.concatenate([dataset.images[:50], dataset.images[:50]])
    assert not [pair for pair in near_pairs([twice]) if (twice[pair[0]] == twice[pair[1]]).all()]


def test_many_near_copies_of_one_image_are_found_though_they_surround_each_other(framed):
    crowd = np.stack([np.roll(framed[3], (down, right), (0, 1)) for down in range(1, 5) for right in range(1, 5)])
    found = set(near_pairs([framed, crowd]))
    assert {row for pair in found for row in pair} >= set(range(len(framed), len(framed) + len(crowd)))


def test_too_few_images_have_no_surroundings(dataset):
    assert list(near_pairs([dataset.images[:5]])) == []
