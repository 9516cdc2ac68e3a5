import numpy as np
import pytest

from competition.models.regression import MAX_BINS, MIN_BIN_ROWS, Bins


@pytest.mark.parametrize("rows", [20, 100, 1_000])
def test_bins_have_about_equal_numbers_of_rows(rows):
    numbers = np.random.default_rng(0).exponential(size=rows).astype(np.float32)
    bins = Bins.fit(numbers)
    counts = np.bincount(bins.classify(numbers))
    assert counts.min() >= MIN_BIN_ROWS and counts.max() < 2.5 * counts.min()
    assert len(counts) == bins.target.outputs <= MAX_BINS + 1
    assert bins.average(np.eye(len(counts))).ravel() == pytest.approx(
        [numbers[bins.classify(numbers) == bin].mean() for bin in range(len(counts))]
    )


def test_a_few_distinct_numbers_are_the_bins():
    numbers = np.repeat(np.array([1, 2, 4], dtype=np.float32), (10, 80, 30))
    assert Bins.fit(numbers).means.tolist() == [1, 2, 4]


def test_numbers_that_are_almost_all_equal_have_two_bins():
    for odd in (0, 2):
        numbers = np.append(np.ones(100, dtype=np.float32), np.float32(odd))
        assert len(Bins.fit(numbers).means) == 2


def test_the_mean_over_bins_is_that_of_the_training_rows():
    numbers = np.random.default_rng(0).normal(size=500).astype(np.float32)
    bins = Bins.fit(numbers)
    frequencies = np.bincount(bins.classify(numbers)) / 500
    assert bins.average(frequencies[None]).item() == pytest.approx(numbers.mean(), abs=1e-6)


def test_the_bins_of_few_rows_are_as_even_as_possible():
    numbers = np.arange(11, dtype=np.float32)
    assert sorted(np.bincount(Bins.fit(numbers).classify(numbers))) == [5, 6]
