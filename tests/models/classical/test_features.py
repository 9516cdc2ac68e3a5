import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from competition.models.classical.features import Deskew, Hog, Likeness, WithinClass


def bar(slant: float, offset: float = 0, side: int = 28) -> np.ndarray:
    """A soft vertical bar, slanted and off the centre."""
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    distance = x - middle - offset - slant * (y - middle)
    inside = np.abs(y - middle) < side / 3
    return (255 * np.exp(-(distance**2) / 4) * inside).astype(np.uint8)[None, :, :, None]


@pytest.mark.parametrize(("slant", "offset"), [(0.4, 0), (-0.4, 0), (0, 3), (0.3, -2)])
def test_deskewing_undoes_slant_and_offset(slant, offset):
    upright, slanted = Deskew().transform(bar(0)), Deskew().transform(bar(slant, offset))
    assert np.abs(upright - slanted).mean() < 0.01
    assert np.abs(bar(0) / 255.0 - bar(slant, offset) / 255.0).mean() > 0.02


def test_an_empty_image_stays_empty():
    features = make_pipeline(Deskew(), Hog()).fit_transform(np.zeros((2, 28, 28, 1), dtype=np.uint8))
    assert np.isfinite(features).all() and not features.any()


def test_gradients_tell_directions_apart_and_not_brightness():
    upright, flat = bar(0)[..., 0] / 255, bar(0)[..., 0].transpose(0, 2, 1) / 255
    hog = Hog(floor=1e-6)
    assert np.allclose(hog.transform(upright), hog.transform(upright / 2), atol=1e-3)
    assert np.abs(hog.transform(upright) - hog.transform(flat)).mean() > 0.01


@pytest.mark.parametrize("side", [8, 20, 28, 32])
def test_features_fit_any_side(side):
    images = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    features = make_pipeline(Deskew(), Hog()).fit_transform(images)
    assert features.shape == (5, 12 * 4 * (6 * 6 + 3 * 3)) and np.isfinite(features).all()


def test_rows_do_not_depend_on_each_other(dataset):
    whole = make_pipeline(Deskew(), Hog()).fit_transform(dataset.images)
    one = make_pipeline(Deskew(), Hog()).fit_transform(dataset.images[17:18])
    assert np.allclose(whole[17], one[0], atol=1e-6)


def test_transformers_can_be_cloned_with_their_settings():
    assert clone(Hog(cells=(5,), directions=6)).get_params() == Hog(cells=(5,), directions=6).get_params()


def test_the_metric_shrinks_what_differs_within_classes():
    random = np.random.default_rng(0)
    labels = np.arange(2_000) % 2
    # Classes differ in the first feature; the second is loud and says nothing.
    points = random.normal(size=(2_000, 2)) * [1, 10] + np.stack([4 * labels, 0 * labels], axis=1)
    half, whole = (WithinClass(power).fit_transform(points, labels) for power in (0.25, 0.5))
    within = [
        np.std(some - np.stack([some[labels == one].mean(axis=0) for one in (0, 1)])[labels], axis=0)
        for some in (half, whole)
    ]
    assert within[1] == pytest.approx([1, 1], rel=0.05)
    assert within[0][1] / within[0][0] == pytest.approx(np.sqrt(10), rel=0.1)


def test_directions_tell_an_edge_from_its_opposite():
    dark_to_light = np.zeros((1, 28, 28), np.float32)
    dark_to_light[:, :, 14:] = 1
    hog = Hog()
    difference = np.abs(hog.transform(dark_to_light) - hog.transform(1 - dark_to_light)).max()
    assert difference > 0.1


def test_likeness_is_one_to_oneself_and_falls_off_with_the_angle():
    rows = np.array([[1.0, 0], [3, 0], [1, 1], [0, 2], [-1, 0]])
    like = Likeness(examples=5, sharpness=0.5).fit(rows)
    found = like.transform(rows)[:, [int(np.argmax(like.examples_ @ [1, 0]))]][:, 0]
    assert found[:2] == pytest.approx(1, abs=1e-5) and (np.diff(found[1:]) < 0).all()
    assert found[3:] == pytest.approx([np.exp(-1), np.exp(-2)], rel=1e-4)
    assert Likeness(examples=3).fit(rows).transform(rows).shape == (5, 3)
