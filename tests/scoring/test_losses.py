import numpy as np
import pytest

from competition.scoring.losses import loss_name, row_errors

NUMBERS = np.array([0.5, 2.0], dtype=np.float32)


def test_a_row_is_wrong_unless_its_most_probable_class_or_all_its_labels_are_right():
    assert row_errors(np.array([0, 1, 1]), np.eye(2)[[0, 0, 1]]).tolist() == [0, 1, 0]
    sets, probabilities = np.array([[1, 0], [1, 1]], dtype=np.uint8), np.array([[0.9, 0.1], [0.9, 0.2]])
    assert row_errors(sets, probabilities).tolist() == [0, 1]


def test_the_error_of_a_number_is_its_difference_in_double_precision():
    errors = row_errors(NUMBERS, np.array([[0.25], [3.0]], dtype=np.float32))
    assert errors.tolist() == [-0.25, 1.0] and errors.dtype == float


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (np.array([0, 1]), "log loss"),
        (np.array([[1, 0]], dtype=np.uint8), "log loss"),
        (NUMBERS, "squared error"),
    ],
)
def test_the_name_of_the_loss(labels, name):
    assert loss_name(labels) == name
