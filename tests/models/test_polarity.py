from dataclasses import replace

import numpy as np
import pytest

from competition.models.interface import RowSubset, Target
from competition.models.member import Member
from competition.models.polarity import has_light_background, invert


def with_border(images):
    return np.pad(images, ((0, 0), (5, 3), (2, 6), (0, 0)))


def predict_in_both_polarities(name, dataset, labels, tmp_path):
    member = Member.parse(name)
    outputs = dataset.classes if labels.ndim == 1 else np.arange(labels.shape[1])
    recipe, target = member.recipe, Target.of(labels, outputs)
    if member.spec.is_network:
        recipe = replace(recipe, epochs=3, min_steps=0)
    train, test = with_border(dataset.images), with_border(dataset.test_images)
    for images, test_images in ((train, test), (invert(train), invert(test))):
        model = member.spec.build(recipe, 0, images.shape[1:], target)
        model.fit(images, labels, lambda epoch: None).save(tmp_path / f"model{model.suffix}")
        yield member.spec.load(tmp_path / f"model{model.suffix}", target).predict_proba(test_images)


@pytest.mark.parametrize("name", ["knn", "svm", "linear"])
def test_a_model_learns_the_same_from_light_and_from_dark_signs(name, dataset, tmp_path):
    light, dark = predict_in_both_polarities(name, dataset, dataset.labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


@pytest.mark.integration
@pytest.mark.parametrize("name", ["svm", "linear", "quick"])
def test_so_it_does_for_several_labels(name, dataset, tmp_path):
    labels = np.arange(3) < dataset.labels[:, None] % 4
    light, dark = predict_in_both_polarities(name, dataset, labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


@pytest.mark.integration
@pytest.mark.parametrize("name", ["quick", "quick:deskewed"])
def test_a_network_learns_the_same_from_light_and_from_dark_signs(name, dataset, tmp_path):
    light, dark = predict_in_both_polarities(name, dataset, dataset.labels, tmp_path)
    assert (light == dark).all() and light.std() > 0.01


def test_only_grey_images_with_light_edges_have_a_light_background(dataset):
    dark = with_border(dataset.images)
    assert not has_light_background(dark)
    assert has_light_background(invert(dark))
    assert has_light_background(RowSubset(invert(dark), np.arange(len(dark)) % 2 == 0))
    assert not has_light_background(np.repeat(invert(dark), 3, axis=3))
