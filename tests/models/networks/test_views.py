import warnings

import keras
import numpy as np
import onnxruntime
import pytest

from competition.models.networks.recipe import FIVE_SHIFTS, UNSHIFTED
from competition.models.networks.views import View, apply_view, choose_views

IMAGES = np.random.default_rng(0).integers(0, 255, (2, 6, 6, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("symmetries", "count"),
    [
        ((), 1),
        (("left-right",), 2),
        (("upside-down",), 2),
        (("left-right", "upside-down"), 4),
        (("quarter turns",), 4),
        (("left-right", "quarter turns"), 8),
        (("left-right", "upside-down", "quarter turns"), 8),
    ],
)
def test_symmetries_give_all_their_combinations_once(symmetries, count):
    views = choose_views((UNSHIFTED,), symmetries)
    assert views[0] == View()
    seen = {np.asarray(apply_view(IMAGES, view)).tobytes() for view in views}
    assert len(views) == len(seen) == count
    for view in views:  # the symmetries map this set of images to itself
        for symmetric in choose_views((UNSHIFTED,), symmetries):
            assert np.asarray(apply_view(np.asarray(apply_view(IMAGES, view)), symmetric)).tobytes() in seen


def test_views_are_turned_mirrored_and_shifted():
    view = np.asarray(apply_view(IMAGES, View(quarter_turns=1, mirrored=True, down=1, right=-1)))
    expected = np.zeros_like(IMAGES)
    expected[:, 1:, :-1] = np.rot90(IMAGES, axes=(1, 2))[:, :, ::-1][:, :-1, 1:]
    assert (view == expected).all()
    assert (np.asarray(apply_view(IMAGES, View(3))) == np.rot90(IMAGES, 3, axes=(1, 2))).all()


def test_shifts_are_combined_with_mirror_images_but_not_with_many_symmetries():
    assert len(choose_views(FIVE_SHIFTS, ())) == 5
    assert len(choose_views(FIVE_SHIFTS, ("left-right",))) == 10
    assert len(choose_views(FIVE_SHIFTS, ("left-right", "quarter turns"))) == 8


def test_views_are_part_of_a_saved_network(tmp_path):
    images = keras.Input(IMAGES.shape[1:], dtype="uint8")
    views = choose_views(FIVE_SHIFTS[:2], ("left-right", "upside-down", "quarter turns"))
    keras.Model(images, [apply_view(images, view) for view in views]).save(tmp_path / "views.keras")
    loaded = keras.saving.load_model(tmp_path / "views.keras", safe_mode=True)
    for view, output in zip(views, loaded.predict_on_batch(IMAGES), strict=True):
        assert (output == np.asarray(apply_view(IMAGES, view))).all()


@pytest.mark.integration
def test_views_can_be_exported_to_onnx(tmp_path):
    images = keras.Input(IMAGES.shape[1:], dtype="uint8")
    views = choose_views(FIVE_SHIFTS[:2], ("left-right", "upside-down", "quarter turns"))
    model = keras.Model(images, [apply_view(images, view) for view in views])
    model.predict_on_batch(IMAGES)  # Keras exports only models that were called
    with warnings.catch_warnings(action="ignore"):  # of tf2onnx
        model.export(tmp_path / "views.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "views.onnx", providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: IMAGES})
    for view, output in zip(views, outputs, strict=True):
        assert (output == np.asarray(apply_view(IMAGES, view))).all()
