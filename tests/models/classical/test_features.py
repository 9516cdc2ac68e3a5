import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from competition.models.classical.features import (
    Deskew,
    Hog,
    RBFLandmarkFeatures,
    WithinClassWhitening,
    cell_weights,
    pool_cells,
)


def bar(slant: float, offset: float = 0, side: int = 28) -> np.ndarray:
    """An image of a blurred vertical bar with this slant and horizontal offset."""
    y, x = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    distance = x - middle - offset - slant * (y - middle)
    inside = np.abs(y - middle) < side / 3
    return (255 * np.exp(-(distance**2) / 4) * inside).astype(np.uint8)[None, :, :, None]


@pytest.mark.parametrize(("slant", "offset"), [(0.4, 0), (-0.4, 0), (0, 3), (0.3, -2)])
def test_deskewing_removes_slant_and_offset(slant, offset):
    expected, deskewed = Deskew().transform(bar(0)), Deskew().transform(bar(slant, offset))
    assert np.abs(expected - deskewed).mean() < 0.01
    assert np.abs(bar(0) / 255.0 - bar(slant, offset) / 255.0).mean() > 0.02


def test_features_of_an_empty_image_are_zero():
    features = make_pipeline(Deskew(), Hog()).fit_transform(np.zeros((2, 28, 28, 1), dtype=np.uint8))
    assert np.isfinite(features).all() and not features.any()


def test_gradient_histograms_depend_on_direction_but_not_on_brightness():
    vertical, horizontal = bar(0)[..., 0] / 255, bar(0)[..., 0].transpose(0, 2, 1) / 255
    hog = Hog(epsilon=1e-6)
    assert np.allclose(hog.transform(vertical), hog.transform(vertical / 2), atol=1e-3)
    assert np.abs(hog.transform(vertical) - hog.transform(horizontal)).mean() > 0.01


@pytest.mark.parametrize("side", [8, 20, 28, 32])
def test_features_support_images_of_any_side(side):
    images = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    features = make_pipeline(Deskew(), Hog()).fit_transform(images)
    assert features.shape == (5, 12 * 4 * (6 * 6 + 3 * 3)) and np.isfinite(features).all()


def test_features_of_a_row_do_not_depend_on_other_rows(dataset):
    all_rows = make_pipeline(Deskew(), Hog()).fit_transform(dataset.images)
    single_row = make_pipeline(Deskew(), Hog()).fit_transform(dataset.images[17:18])
    assert np.allclose(all_rows[17], single_row[0], atol=1e-6)


def test_clones_of_a_transformer_keep_its_parameters():
    assert clone(Hog(cells=(5,), orientations=6)).get_params() == Hog(cells=(5,), orientations=6).get_params()


def test_whitening_shrinks_variance_within_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(2_000) % 2
    # The classes differ in the first feature; the second has a large variance but no information.
    points = rng.normal(size=(2_000, 2)) * [1, 10] + np.stack([4 * labels, 0 * labels], axis=1)
    half, full = (WithinClassWhitening(power).fit_transform(points, labels) for power in (0.25, 0.5))
    deviations = [
        np.std(whitened - np.stack([whitened[labels == label].mean(axis=0) for label in (0, 1)])[labels], axis=0)
        for whitened in (half, full)
    ]
    assert deviations[1] == pytest.approx([1, 1], rel=0.05)
    assert deviations[0][1] / deviations[0][0] == pytest.approx(np.sqrt(10), rel=0.1)


def test_gradient_histograms_distinguish_an_edge_from_its_inverse():
    dark_to_light = np.zeros((1, 28, 28), np.float32)
    dark_to_light[:, :, 14:] = 1
    hog = Hog()
    difference = np.abs(hog.transform(dark_to_light) - hog.transform(1 - dark_to_light)).max()
    assert difference > 0.1


def test_similarity_is_one_for_equal_directions_and_decreases_with_the_angle():
    rows = np.array([[1.0, 0], [3, 0], [1, 1], [0, 2], [-1, 0]])
    transformer = RBFLandmarkFeatures(n_landmarks=5, gamma=0.5).fit(rows)
    similarities = transformer.transform(rows)[:, [int(np.argmax(transformer.landmarks_ @ [1, 0]))]][:, 0]
    assert similarities[:2] == pytest.approx(1, abs=1e-5) and (np.diff(similarities[1:]) < 0).all()
    assert similarities[3:] == pytest.approx([np.exp(-1), np.exp(-2)], rel=1e-4)
    assert RBFLandmarkFeatures(n_landmarks=3).fit(rows).transform(rows).shape == (5, 3)


def test_votes_are_pooled_along_both_sides():
    votes = np.random.default_rng(0).random((3, 12, 9, 4)).astype(np.float32)
    weights_y, weights_x = (cell_weights(side, 4) for side in (12, 9))
    expected = np.einsum("ay,nyxd,bx->nabd", weights_y, votes, weights_x)
    assert np.allclose(pool_cells(votes, 4), expected, atol=1e-5)
