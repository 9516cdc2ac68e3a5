import numpy as np
import pytest

from competition.checks import augmentations as safety
from competition.checks.augmentations import CHANGES, effects
from competition.models import registry as models


@pytest.fixture(scope="module")
def found(dataset):
    spec = models.load("svm")
    model = spec.build(spec.recipe, 0, dataset.images.shape[1:], 10)
    model.fit(dataset.images[:400], dataset.labels[:400], lambda epoch: None)
    return {one.change: one for one in effects(model, dataset.images[400:], dataset.labels[400:])}


def test_turning_by_180_degrees_is_found_to_turn_one_digit_into_another(found):
    turned = found["turned by 180 degrees"]
    assert not turned.is_safe and {turned.changed_class, turned.into} <= {2, 5, 6, 9, 1, 7}
    assert turned.still_right < 0.7


def test_small_shifts_and_zooms_are_found_safe(found):
    assert found["shifted by 9 %"].is_safe and found["smaller by 15 %"].is_safe


def test_every_change_is_looked_at(found):
    assert set(found) == set(CHANGES)


def test_changes_do_what_their_names_say():
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 2, 4] = 200  # above the centre
    assert CHANGES["turned by 90 degrees"](image)[0, 4, [2, 6], 0].max() == 200
    assert CHANGES["turned by 180 degrees"](image)[0, 6, 4, 0] == 200
    assert CHANGES["flipped upside down"](image)[0, 6, 4, 0] == 200
    assert safety.shifted(1 / 9)(image)[0, 3, 5, 0] == 200
    assert (safety.turned(0)(image) == image).all()
