from dataclasses import replace

import numpy as np
import pytest

from competition.models.interface import RowSubset, Target
from competition.models.member import Member
from competition.models.polarity import find_white, invert

WHITE = 255


def with_border(images):
    return np.pad(images, ((0, 0), (5, 3), (2, 6), (0, 0)))


def predict_in_both_polarities(name, dataset, labels, tmp_path):
    member = Member.parse(name)
    outputs = dataset.classes if labels.ndim == 1 else np.arange(labels.shape[1])
    recipe, target = member.recipe, Target.of(labels, outputs)
    if member.spec.is_network:
        recipe = replace(recipe, epochs=3, min_steps=0)
    train, test = with_border(dataset.images), with_border(dataset.test_images)
    for images, test_images in ((train, test), (WHITE - train, WHITE - test)):
        model = member.spec.build(recipe, 0, images.shape[1:], target)
        model.fit(images, labels, lambda epoch: None).save(tmp_path / f"model{model.suffix}")
        yield member.spec.load(tmp_path / f"model{model.suffix}", target).predict_proba(test_images)


@pytest.mark.parametrize("name", ["knn", "svm", "linear"])
def test_a_model_learns_the_same_from_light_and_from_dark_glyphs(name, dataset, tmp_path):
    light, dark = predict_in_both_polarities(name, dataset, dataset.labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


@pytest.mark.integration
@pytest.mark.parametrize("name", ["svm", "linear", "quick"])
def test_a_model_of_several_labels_learns_the_same_from_light_and_from_dark_glyphs(name, dataset, tmp_path):
    labels = np.arange(3) < dataset.labels[:, None] % 4
    light, dark = predict_in_both_polarities(name, dataset, labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


@pytest.mark.integration
@pytest.mark.parametrize("name", ["quick", "quick:deskewed"])
def test_a_network_learns_the_same_from_light_and_from_dark_glyphs(name, dataset, tmp_path):
    light, dark = predict_in_both_polarities(name, dataset, dataset.labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


def test_only_grey_images_with_light_edges_have_a_white_background(dataset):
    light = with_border(dataset.images)
    dark = WHITE - light
    assert find_white(light) is None
    assert find_white(dark) == WHITE
    assert find_white(RowSubset(dark, np.arange(len(dark)) % 2 == 0)) == WHITE
    assert find_white(np.repeat(dark, 3, axis=3)) is None


@pytest.mark.parametrize("brightest", [1, 16, 255])
def test_white_is_the_brightest_value_of_the_images(brightest, dataset):
    light = with_border(dataset.images // np.uint8(-(-255 // brightest)))
    dark = (np.uint8(brightest) - light).astype(np.uint8)
    assert find_white(dark) == brightest
    assert (invert(dark, brightest) == light).all()


def test_values_above_white_become_black_and_other_images_stay():
    images = np.array([0, 10, 200], np.uint8)
    assert invert(images, 16).tolist() == [16, 6, 0]
    assert invert(images, None) is images
