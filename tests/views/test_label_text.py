import numpy as np
import pytest

from competition.views.label_text import label_text, prediction_text

CLASSES = np.array(["rust", "scab"])


@pytest.mark.parametrize(("allow_empty", "text"), [(False, "scab"), (True, "no label")])
def test_the_most_probable_label_is_predicted_where_none_is_not_allowed(allow_empty, text):
    assert prediction_text(np.array([0.1, 0.3]), np.array([1, 0]), CLASSES, allow_empty) == text


def test_label_sets_classes_and_numbers_are_text():
    assert label_text(np.array([1, 1]), CLASSES) == "rust, scab"
    assert (
        label_text(np.int64(1), CLASSES) == "scab" == prediction_text(np.array([0.1, 0.9]), np.int64(0), CLASSES, False)
    )
    assert label_text(np.float32(1.23456), CLASSES) == "1.235"
