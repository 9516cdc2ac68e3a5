import numpy as np

from competition.models.interface import RowSubset


def test_a_row_subset_equals_the_indexed_array(dataset):
    selected = np.arange(len(dataset.images)) % 3 == 1
    rows = RowSubset(dataset.images, selected)
    assert rows.shape == dataset.images[selected].shape and len(rows) == selected.sum()
    assert (np.asarray(rows) == dataset.images[selected]).all() and np.asarray(rows).dtype == np.uint8
    for index in (slice(5, 9), np.array([7, 2]), 3):
        assert (rows[index] == dataset.images[selected][index]).all()
