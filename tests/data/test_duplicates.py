import numpy as np
import pytest

from competition.data.duplicates import find_near_duplicates

CHANGES = {
    "shifted": lambda image: np.roll(image, (1, -1), (0, 1)),
    "darker": lambda image: (0.7 * image + 20).astype(np.uint8),
    "a speck": lambda image: np.where(np.arange(image.size).reshape(image.shape) == 5, 90, image).astype(np.uint8),
    "noise": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


@pytest.fixture
def padded_digits(dataset):
    """The digits with a margin, so that they can be shifted."""
    return np.pad(dataset.images, ((0, 0), (4, 4), (4, 4), (0, 0)))


@pytest.mark.parametrize("change", CHANGES)
def test_slightly_changed_images_are_found(change, padded_digits):
    rows = np.arange(0, 60, 2)
    changed = np.stack([CHANGES[change](image) for image in padded_digits[rows]])
    pairs = set(find_near_duplicates([padded_digits, changed]))
    expected = {(int(row), len(padded_digits) + number) for number, row in enumerate(rows)}
    assert len(pairs & expected) >= 0.85 * len(expected)
    assert len(pairs - expected) <= 0.02 * len(padded_digits)


def test_different_digits_are_rarely_reported(dataset):
    assert len(list(find_near_duplicates([dataset.images]))) <= 0.02 * len(dataset.images)


def test_exact_duplicates_are_not_reported(dataset):
    twice = np.concatenate([dataset.images[:50], dataset.images[:50]])
    assert not [pair for pair in find_near_duplicates([twice]) if (twice[pair[0]] == twice[pair[1]]).all()]


def test_many_near_duplicates_of_one_image_are_found(padded_digits):
    shifted = np.stack(
        [np.roll(padded_digits[3], (down, right), (0, 1)) for down in range(1, 5) for right in range(1, 5)]
    )
    pairs = set(find_near_duplicates([padded_digits, shifted]))
    assert {row for pair in pairs for row in pair} >= set(range(len(padded_digits), len(padded_digits) + len(shifted)))


def test_too_few_images_yield_no_pairs(dataset):
    assert list(find_near_duplicates([dataset.images[:5]])) == []
