import numpy as np
import pytest

from competition.checks import augmentations as safety
from competition.checks.augmentations import TRANSFORMS, measure_effects
from competition.models.registry import load_spec


@pytest.fixture(scope="module")
def found(dataset):
    spec = load_spec("svm")
    model = spec.build(spec.recipe, 0, dataset.images.shape[1:], 10)
    model.fit(dataset.images[:400], dataset.labels[:400], lambda epoch: None)
    return {one.transform: one for one in measure_effects(model, dataset.images[400:], dataset.labels[400:])}


def test_turning_by_180_degrees_is_found_to_turn_one_digit_into_another(found):
    turned = found["turned by 180 degrees"]
    assert not turned.is_label_preserving and {turned.from_class, turned.to_class} <= {2, 5, 6, 9, 1, 7}
    assert turned.still_correct < 0.7


def test_small_shifts_and_zooms_are_found_safe(found):
    assert found["shifted by 9 %"].is_label_preserving and found["smaller by 15 %"].is_label_preserving


def test_every_change_is_looked_at(found):
    assert set(found) == set(TRANSFORMS)


def test_changes_do_what_their_names_say():
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 2, 4] = 200  # above the centre
    assert TRANSFORMS["turned by 90 degrees"](image)[0, 4, [2, 6], 0].max() == 200
    assert TRANSFORMS["turned by 180 degrees"](image)[0, 6, 4, 0] == 200
    assert TRANSFORMS["flipped upside down"](image)[0, 6, 4, 0] == 200
    assert safety.shift(1 / 9)(image)[0, 3, 5, 0] == 200
    assert (safety.rotation(0)(image) == image).all()
