import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from conftest import ROOT
from optuna.trial import FixedTrial

from competition.errors import Problem
from competition.models import registry as models
from competition.models.classical import spec as classical
from competition.models.hyperparameters import settings, with_settings
from competition.models.member import Member

OTHER_SHAPES = ((9, 1, 5), (20, 1, 2), (28, 1, 10), (32, 3, 4), (64, 3, 4), (96, 1, 2))


def test_the_folder_is_the_registry():
    networks = {"mlp", "lenet", "vgg", "strided", "quick", "residual", "plain"}
    assert networks | {"knn", "svm", "linear"} <= set(models.available())


@pytest.mark.parametrize("name", models.available())
@pytest.mark.parametrize(
    ("side", "channels", "classes"),
    [(8, 3, 3), *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHER_SHAPES)],
)
def test_every_model_fits_other_shapes_and_keeps_itself(name, side, channels, classes, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (150, side, side, channels), dtype=np.uint8)
    labels = np.arange(150) % classes
    spec = models.load(name)
    recipe = replace(spec.recipe, epochs=1, least_steps=0) if spec.is_network else spec.recipe
    model = spec.build(recipe, 1, images.shape[1:], classes).fit(images, labels, lambda epoch: None)
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (150, classes) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    path = tmp_path / f"kept{model.suffix}"
    model.save(path)
    assert (spec.load(path, classes).predict_proba(images) == probabilities).all()


def test_the_model_that_the_guide_adds_works(dataset):
    source = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "add-a-model.md").read_text(), re.S)
    example: dict = {}
    exec(source[1], example)
    spec = example["SPEC"]
    model = spec.build(replace(spec.recipe, epochs=1, least_steps=0), 0, dataset.images.shape[1:], 10)
    model.fit(dataset.images, dataset.labels, lambda epoch: None)
    assert model.predict_proba(dataset.test_images).shape == (len(dataset.test_ids), 10)


@pytest.mark.parametrize("name", ["knn", "svm", "linear"])
def test_the_baselines_know_digits(name, dataset):
    spec = models.load(name)
    model = spec.build(spec.recipe, 0, dataset.images.shape[1:], 10)
    model.fit(dataset.images[:400], dataset.labels[:400], lambda epoch: None)
    assert (model.predict_proba(dataset.images[400:]).argmax(axis=1) == dataset.labels[400:]).mean() > 0.93


def test_a_foreign_type_in_a_kept_pipeline_is_refused(tmp_path):
    import skops.io

    skops.io.dump({"model": Fraction(1, 2)}, tmp_path / "foreign.skops")
    with pytest.raises(ValueError, match=r"holds fractions\.Fraction, which is not loaded"):
        classical.load(tmp_path / "foreign.skops", 2)


def test_a_member_is_a_model_and_a_seed():
    assert (Member.named("quick").seed, Member.named("quick.3").seed) == (0, 3)
    assert Member.named("quick.3").model == "quick" and Member.named("quick.3").name == "quick.3"


def test_a_variant_is_the_same_layers_with_another_recipe():
    member = Member.named("vgg:tutorial.2")
    assert (member.model, member.variant, member.seed, member.name) == ("vgg", "tutorial", 2, "vgg:tutorial.2")
    assert member.recipe.batch == 86 and member.recipe != Member.named("vgg").recipe
    assert member.spec.build is Member.named("vgg").spec.build
    with pytest.raises(Problem, match="vgg has no variant 'x'; there are: vgg:tutorial, vgg:rmsprop"):
        Member.named("vgg:x")
    with pytest.raises(Problem, match="plain has no variant 'x'; there are: none"):
        Member.named("plain:x")


@pytest.mark.parametrize(
    "name", ["quick:", "quick:1", "quick.1:x", "quick.", "quick.x", "../quick", "quick.01", "quick.0", ""]
)
def test_what_is_no_member_is_told(name):
    with pytest.raises(Problem, match="is no member"):
        Member.named(name)


def test_an_unknown_model_is_told_with_those_there_are():
    with pytest.raises(Problem, match=r"no model 'resnet'; choose from .*quick.*add competition/models/zoo/resnet\.py"):
        Member.named("resnet.2")


@pytest.mark.parametrize("name", models.available())
def test_every_model_asks_only_for_settings_that_its_recipe_has(name):
    member = Member.named(name)
    present = FixedTrial(settings(member.recipe))
    member.spec.search(present)
    assert present.params
    assert with_settings(member.recipe, present.params) == member.recipe
