import numpy as np
import pytest

from competition.checks.augmentations import TRANSFORMS, measure_effects, rotation, shift
from competition.errors import UserError
from competition.models.interface import Target
from competition.models.registry import load_spec


def measure(images, labels):
    spec = load_spec("svm")
    model = spec.build(spec.recipe, 0, images.shape[1:], Target("class", 10))
    model.fit(images[:400], labels[:400], lambda epoch: None)
    return {effect.transform: effect for effect in measure_effects(model, images[400:], labels[400:])}


@pytest.fixture(scope="module")
def effects(dataset):
    return measure(dataset.images, dataset.labels)


def test_rotation_by_180_degrees_turns_one_digit_into_another(effects):
    rotated = effects["rotated by 180 degrees"]
    assert not rotated.is_label_preserving and {rotated.from_class, rotated.to_class} <= {2, 5, 6, 9, 1, 7}
    assert rotated.accuracy < 0.7


def test_small_shifts_and_zooms_preserve_the_label(effects):
    assert effects["shifted by 9 %"].is_label_preserving and effects["reduced by 15 %"].is_label_preserving


def test_light_and_dark_glyphs_react_alike(dataset):
    light = np.pad(dataset.images, ((0, 0), (3, 3), (3, 3), (0, 0)))
    assert measure(255 - light, dataset.labels) == measure(light, dataset.labels)


def test_every_transform_is_measured(effects):
    assert set(effects) == set(TRANSFORMS)


def test_transforms_do_what_their_names_say():
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 2, 4] = 200  # above the centre
    assert TRANSFORMS["rotated by 90 degrees"](image)[0, 4, [2, 6], 0].max() == 200
    assert TRANSFORMS["rotated by 180 degrees"](image)[0, 6, 4, 0] == 200
    assert TRANSFORMS["flipped upside-down"](image)[0, 6, 4, 0] == 200
    assert shift(1 / 9)(image)[0, 3, 5, 0] == 200
    assert (rotation(0)(image) == image).all()


def test_a_model_that_predicts_no_row_correctly_is_refused(dataset):
    class Wrong:
        def predict_proba(self, images):
            return np.eye(11)[np.full(len(images), 10)]

    with pytest.raises(UserError, match="predicts none of 100 held-out rows correctly; choose a better one"):
        next(measure_effects(Wrong(), dataset.images[:100], dataset.labels[:100]))
