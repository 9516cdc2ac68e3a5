import re
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from conftest import ROOT
from optuna.trial import FixedTrial

from competition.errors import UserError
from competition.models.classical.spec import load_pipeline
from competition.models.hyperparameters import get_hyperparameters, replace_hyperparameters
from competition.models.interface import Target
from competition.models.member import Member
from competition.models.pretrained import weights
from competition.models.registry import available_models, load_spec
from competition.models.regression import BinnedRegressor, load_regressor
from competition.scoring.metrics import mean_column_auc

SLOW_NETWORKS = ("lenet", "vgg", "strided", "quick", "detail", "residual", "resnet", "plain", "finetuned")
SHAPES = ((9, 1, 5), (20, 1, 2), (28, 1, 10), (32, 3, 4), (64, 3, 4), (96, 1, 2))  # (side, channels, classes)


COLUMN_MODELS = ("boosting", "logistic")
IMAGE_MODELS = [name for name in available_models() if load_spec(name).inputs == "images"]


@pytest.fixture(autouse=True)
def _use_downloaded_weights(request, monkeypatch):
    """Models that start from the weights of a pretrained network find these among the files of the tests."""
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    if name in IMAGE_MODELS and load_spec(name).is_fine_tuned:
        monkeypatch.setattr(weights, "DOWNLOADS", request.getfixturevalue("pretrained_wheel").parent)


def test_all_models_are_registered():
    assert {"mlp", *SLOW_NETWORKS, "knn", "svm", "linear"} | set(COLUMN_MODELS) <= set(available_models())


@pytest.mark.parametrize("name", IMAGE_MODELS)
@pytest.mark.parametrize(
    ("side", "channels", "classes"),
    [(8, 3, 3), *(pytest.param(*shape, marks=pytest.mark.slow) for shape in SHAPES)],
)
def test_models_fit_images_of_other_shapes_and_can_be_saved(name, side, channels, classes, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (150, side, side, channels), dtype=np.uint8)
    labels = np.arange(150) % classes
    spec = load_spec(name)
    recipe = replace(spec.recipe, epochs=1, min_steps=0) if spec.is_network else spec.recipe
    model = spec.build(recipe, 1, images.shape[1:], Target("class", classes)).fit(images, labels, lambda epoch: None)
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (150, classes) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    path = tmp_path / f"model{model.suffix}"
    model.save(path)
    assert (spec.load(path, Target("class", classes)).predict_proba(images) == probabilities).all()


def learnable_images(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of 12x12 noise with a bright bar in each of three places, and whether it is there."""
    labels = (rng.random((rows, 3)) < 0.4).astype(np.uint8)
    images = rng.integers(0, 60, (rows, 12, 12, 1), dtype=np.uint8)
    for label in range(3):
        images[labels[:, label] == 1, 1 + 4 * label : 3 + 4 * label, 2:10] = 220
    return images, labels


def small_model(name: str):
    """A model whose training takes seconds."""
    spec = load_spec(name)
    if spec.is_network:
        return replace(spec, recipe=replace(spec.recipe, epochs=15, min_steps=150, batch_size=32))
    return spec


@pytest.mark.parametrize(
    "name",
    ["knn", "svm", "linear", "mlp", *(pytest.param(name, marks=pytest.mark.integration) for name in SLOW_NETWORKS)],
)
def test_models_learn_label_sets_and_can_be_saved(name, tmp_path):
    images, labels = learnable_images(np.random.default_rng(0), 500)
    labels = np.column_stack([labels, np.arange(500) == 0]).astype(np.uint8)  # a label that a single row has
    spec, target = small_model(name), Target("labels", 4)
    model = spec.build(spec.recipe, 0, images.shape[1:], target).fit(images[:400], labels[:400], lambda epoch: None)
    probabilities = model.predict_proba(images[400:])
    assert probabilities.shape == (100, 4) and (probabilities >= 0).all() and (probabilities <= 1).all()
    assert mean_column_auc(labels[400:], probabilities) > 0.9
    assert probabilities[:, 3].max() < 0.1
    model.save(tmp_path / f"model{model.suffix}")
    assert (spec.load(tmp_path / f"model{model.suffix}", target).predict_proba(images[400:]) == probabilities).all()


@pytest.mark.parametrize(
    "name",
    ["knn", "svm", "linear", "mlp", *(pytest.param(name, marks=pytest.mark.integration) for name in SLOW_NETWORKS)],
)
def test_models_learn_numbers_and_can_be_saved(name, tmp_path):
    images, labels = learnable_images(np.random.default_rng(0), 500)
    rng = np.random.default_rng(1)
    numbers = (labels @ np.array([1, 2, 4]) + rng.normal(0, 0.2, 500)).astype(np.float32)
    spec = small_model(name)
    model = BinnedRegressor(partial(spec.build, spec.recipe, 0, images.shape[1:]))
    epochs = []
    model.fit(images[:400], numbers[:400], epochs.append)
    predictions = model.predict_proba(images[400:])
    assert predictions.shape == (100, 1)
    assert ((predictions[:, 0] - numbers[400:]) ** 2).mean() < 0.4 * numbers.var()
    if epochs:
        assert (epochs[-1].predict_proba(images[400:]).shape) == (100, 1)
    model.save(tmp_path / f"model{model.suffix}")
    loaded = load_regressor(spec.load, tmp_path / f"model{model.suffix}", numbers[:400])
    assert (loaded.predict_proba(images[400:]) == predictions).all()


def test_the_example_model_of_the_guide_works(dataset):
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "design" / "add-a-model.md").read_text(), re.S)
    module: dict = {}
    exec(code[1], module)
    spec = module["SPEC"]
    model = spec.build(replace(spec.recipe, epochs=1, min_steps=0), 0, dataset.images.shape[1:], Target("class", 10))
    model.fit(dataset.images, dataset.labels, lambda epoch: None)
    assert model.predict_proba(dataset.test_images).shape == (len(dataset.test_ids), 10)


@pytest.mark.parametrize("name", ["knn", "svm", "linear"])
def test_classical_models_classify_digits(name, dataset):
    spec = load_spec(name)
    model = spec.build(spec.recipe, 0, dataset.images.shape[1:], Target("class", 10))
    model.fit(dataset.images[:400], dataset.labels[:400], lambda epoch: None)
    assert (model.predict_proba(dataset.images[400:]).argmax(axis=1) == dataset.labels[400:]).mean() > 0.93


@pytest.mark.parametrize("name", COLUMN_MODELS)
@pytest.mark.parametrize(("columns", "classes"), [(1, 2), (7, 5)])
def test_models_of_columns_fit_other_tables_and_can_be_saved(name, columns, classes, tmp_path):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(150, columns)).astype(np.float32)
    table[rng.random(table.shape) < 0.2] = np.nan
    labels = np.arange(150) % classes
    spec = load_spec(name)
    model = spec.build(spec.recipe, 1, table.shape[1:], Target("class", classes)).fit(table, labels, lambda epoch: None)
    probabilities = model.predict_proba(table)
    assert probabilities.shape == (150, classes) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.skops")
    assert (spec.load(tmp_path / "model.skops", Target("class", classes)).predict_proba(table) == probabilities).all()


def test_a_saved_pipeline_with_an_untrusted_type_is_rejected(tmp_path):
    import skops.io

    skops.io.dump({"model": Fraction(1, 2)}, tmp_path / "untrusted.skops")
    with pytest.raises(ValueError, match=r"contains the untrusted type fractions\.Fraction; it was not loaded"):
        load_pipeline(tmp_path / "untrusted.skops", Target("class", 2))


def test_a_member_name_is_parsed_into_model_and_seed():
    assert (Member.parse("quick").seed, Member.parse("quick.3").seed) == (0, 3)
    assert Member.parse("quick.3").model == "quick" and Member.parse("quick.3").name == "quick.3"


def test_a_variant_has_the_same_layers_and_another_recipe():
    member = Member.parse("vgg:tutorial.2")
    assert (member.model, member.variant, member.seed, member.name) == ("vgg", "tutorial", 2, "vgg:tutorial.2")
    assert member.recipe.batch_size == 86 and member.recipe != Member.parse("vgg").recipe
    assert member.spec.build is Member.parse("vgg").spec.build


@pytest.mark.parametrize(
    "name", ["quick:", "quick:1", "quick.1:x", "quick.", "quick.x", "../quick", "quick.01", "quick.0", ""]
)
def test_invalid_member_names_are_rejected(name):
    with pytest.raises(UserError, match="invalid member"):
        Member.parse(name)


def test_the_error_for_an_unknown_model_lists_the_available_ones():
    with pytest.raises(
        UserError, match=r"unknown model 'unet'; choose from .*quick.*add competition/models/zoo/unet\.py"
    ):
        Member.parse("unet.2")


@pytest.mark.parametrize("name", available_models())
def test_search_spaces_contain_only_hyperparameters_of_the_recipe(name):
    member = Member.parse(name)
    trial = FixedTrial(get_hyperparameters(member.recipe))
    member.spec.search_space(trial)
    assert trial.params
    assert replace_hyperparameters(member.recipe, trial.params) == member.recipe


@pytest.mark.parametrize("name", ["lenet:tutorial", "vgg:tutorial", "vgg:rmsprop", "strided:author"])
def test_the_networks_of_tutorials_see_whole_images(name):
    assert not Member.parse(name).recipe.crop_border


@pytest.mark.parametrize("name", ["bob.v2", "", "a b", "x" * 61])
def test_the_name_of_imported_predictions_is_checked(name):
    assert Member.imported("theirs").name == "@theirs"
    with pytest.raises(UserError, match=r"invalid name .*; use letters, digits, _ and -, at most 60 of them"):
        Member.imported(name)
