import numpy as np
import pytest

from competition.data.targets import target_kind


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (np.array([0, 2, 1]), "class"),
        (np.array([[0, 1], [1, 1]], dtype=np.uint8), "labels"),
        (np.array([0.5, 31.0], dtype=np.float32), "number"),
    ],
)
def test_the_labels_tell_what_is_asked_for(labels, kind):
    assert target_kind(labels) == kind
