import numpy as np

from competition.models.interface import Rows


def test_rows_are_those_of_the_array(dataset):
    chosen = np.arange(len(dataset.images)) % 3 == 1
    rows = Rows(dataset.images, chosen)
    assert rows.shape == dataset.images[chosen].shape and len(rows) == chosen.sum()
    assert (np.asarray(rows) == dataset.images[chosen]).all() and np.asarray(rows).dtype == np.uint8
    for which in (slice(5, 9), np.array([7, 2]), 3):
        assert (rows[which] == dataset.images[chosen][which]).all()
