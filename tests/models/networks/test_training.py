import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import keras
import numpy as np
import pytest
from conftest import ROOT, TRAIN_ROWS, small_digits
from keras import layers
from scipy.special import expit, softmax

from competition.data.augmentation import Augmentation
from competition.models.interface import Target
from competition.models.networks import training
from competition.models.networks.recipe import FIVE_SHIFTS, Recipe, one_cycle
from competition.models.networks.training import Network, load_network

RECIPE = Recipe(
    epochs=2,
    batch_size=64,
    peak_learning_rate=3e-3,
    schedule=one_cycle,
    label_smoothing=0.1,
    augmentation=Augmentation(),
)


def small_body(x):
    return layers.Dropout(0.2)(layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(x)))


def train(dataset, recipe=RECIPE, seed=0, on_epoch_end=lambda epoch: None):
    network = Network(small_body, recipe, seed, dataset.images.shape[1:], Target.of(dataset.labels, dataset.classes))
    return network.fit(dataset.images, dataset.labels, on_epoch_end)


@pytest.mark.integration
def test_predictions_are_reproducible_and_depend_on_the_seed(dataset):
    first = train(dataset).predict_proba(dataset.test_images)
    train(dataset, seed=5)  # training another network in the same process must not matter
    assert train(dataset).predict_proba(dataset.test_images).tobytes() == first.tobytes()
    assert train(dataset, seed=1).predict_proba(dataset.test_images).tobytes() != first.tobytes()


def test_a_network_fits_its_training_rows(dataset):
    network = train(dataset, replace(RECIPE, epochs=25, peak_learning_rate=1e-2, augmentation=None))
    assert (network.predict_proba(dataset.images).argmax(axis=1) == dataset.labels).mean() > 0.9


def test_the_callback_sees_every_epoch_and_does_not_influence_training(dataset):
    epochs = []

    def predict_and_record(epoch):
        epoch.predict_proba(dataset.test_images)
        epochs.append(epoch)

    with_callback = train(dataset, on_epoch_end=predict_and_record).predict_proba(dataset.test_images)
    assert [(epoch.number, epoch.total) for epoch in epochs] == [(1, 2), (2, 2)]
    assert epochs[0].loss > epochs[1].loss > 0 and epochs[1].images_per_second > 0
    assert (with_callback == train(dataset).predict_proba(dataset.test_images)).all()


def test_few_rows_are_trained_for_the_minimum_number_of_steps(dataset):
    epochs = []
    train(dataset, replace(RECIPE, epochs=1, min_steps=20), on_epoch_end=epochs.append)
    steps_per_epoch = len(dataset.images) // RECIPE.batch_size
    assert 20 <= len(epochs) * steps_per_epoch < 20 + steps_per_epoch and epochs[-1].number == epochs[-1].total


FLOAT16 = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from competition.models.interface import Target
from competition.models.member import Member
target = Target("class", 2)
labels, rows = np.arange(200) % 2, np.random.default_rng(0).integers(0, 100, (200, 16, 16, 1))
images = (rows + 120 * labels[:, None, None, None] * (np.arange(16) < 8)[None, None, :, None]).astype(np.uint8)
member = Member.parse("quick")
recipe = replace(member.recipe, epochs=3, min_steps=40, precision="mixed_float16")
network = member.spec.build(recipe, 0, images.shape[1:], target).fit(images, labels, lambda epoch: None)
predicted, path = network.predict_proba(images), Path(sys.argv[1])
network.save(path)
assert (predicted.argmax(axis=1) == labels).all()
np.testing.assert_array_equal(member.spec.load(path, target).predict_proba(images), predicted)
"""


@pytest.mark.integration
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_precision_of_older_gpus_trains(backend, tmp_path):
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", FLOAT16, tmp_path / "network.keras"]
    result = subprocess.run(run, env=environment, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_saved_network_predicts_the_same(dataset, tmp_path):
    network = train(dataset)
    network.save(tmp_path / "network.keras")
    loaded = load_network(tmp_path / "network.keras").predict_proba(dataset.test_images)
    assert (loaded == network.predict_proba(dataset.test_images)).all()


def test_a_few_images_are_predicted_once_without_compiling(dataset, tmp_path, monkeypatch):
    train(dataset).save(tmp_path / "network.keras")
    network, images = load_network(tmp_path / "network.keras"), dataset.test_images[: training.FEW_IMAGES]
    expected = network.predict_proba(images)
    compiled = []
    predict = keras.Model.predict_on_batch

    def predict_on_batch(model, images):
        compiled.append(len(images))
        return predict(model, images)

    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_on_batch)
    assert np.allclose(network.predict_once(images), expected, atol=1e-3) and not compiled
    network.predict_once(dataset.test_images)
    assert compiled[0] == len(dataset.test_images)


def test_a_saved_network_that_could_execute_code_is_rejected(tmp_path):
    images = keras.Input((4, 4, 1))
    keras.Model(images, layers.Lambda(lambda x: x + 1)(images)).save(tmp_path / "network.keras")
    with pytest.raises(ValueError, match="lambda"):
        load_network(tmp_path / "network.keras")


BACKEND_SCRIPT = """
import keras, sys
import numpy as np
from dataclasses import replace
from pathlib import Path
from competition.data.dataset import load_dataset
from competition.models.member import Member
from competition.crossval.folds import make_folds
from competition.crossval.provenance import provenance_of
from test_training import RECIPE, train

dataset = load_dataset(Path(sys.argv[1]))
recipe = replace(RECIPE, epochs=20, peak_learning_rate=1e-2)
probabilities = train(dataset, recipe).predict_proba(dataset.test_images)
accuracy = (probabilities.argmax(axis=1) == np.load(sys.argv[2])).mean()
assert (train(dataset, recipe).predict_proba(dataset.test_images) == probabilities).all()
provenance = provenance_of(Member.parse("quick"), dataset, make_folds(dataset, 2, 0))
print(keras.backend.backend(), provenance["backend"], provenance.get("jax"), provenance.get("tensorflow"), accuracy)
"""


@pytest.mark.slow
def test_jax_and_tensorflow_reach_similar_accuracy(competition_folder, tmp_path):
    np.save(tmp_path / "labels.npy", small_digits()[1][TRAIN_ROWS:])
    accuracies = {}
    search_path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "models" / "networks")))
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": search_path}
        arguments = [sys.executable, "-c", BACKEND_SCRIPT, str(competition_folder), str(tmp_path / "labels.npy")]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        *names, accuracy = done.stdout.split()
        jax, tensorflow = (version(library) if library == backend else "None" for library in ("jax", "tensorflow"))
        assert names == [backend, backend, jax, tensorflow]
        accuracies[backend] = float(accuracy)
    assert min(accuracies.values()) > 0.85 and abs(accuracies["jax"] - accuracies["tensorflow"]) < 0.06, accuracies


def test_views_are_shifts_whose_logits_are_averaged(dataset, tmp_path):
    recipe = replace(RECIPE, precision="float32")
    train(dataset, recipe).save(tmp_path / "single.keras")
    train(dataset, replace(recipe, shifts=FIVE_SHIFTS)).save(tmp_path / "five.keras")
    single, five = (load_network(tmp_path / f"{name}.keras").model for name in ("single", "five"))
    padded = np.pad(dataset.test_images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, 1 - down : 17 - down, 1 - right : 17 - right] for down, right in FIVE_SHIFTS]
    logits = [single.predict_on_batch(np.ascontiguousarray(images))["logits"] for images in shifted]
    views = five.predict_on_batch(dataset.test_images)
    assert np.allclose(views["logits"], np.mean(logits, axis=0), atol=1e-5)
    assert np.allclose(views["first_view"], logits[0], atol=1e-5)
    assert not np.allclose(views["logits"], logits[0], atol=1e-3)
    assert not single.predict_on_batch(dataset.test_images)["is_uncertain"].any()  # there is no other view


@pytest.mark.integration
def test_the_other_views_are_used_only_where_the_first_is_uncertain(dataset, tmp_path):
    recipe = replace(RECIPE, epochs=10, peak_learning_rate=1e-2, shifts=FIVE_SHIFTS, precision="float32")
    train(dataset, recipe).save(tmp_path / "network.keras")
    network = load_network(tmp_path / "network.keras")
    logits = network.model.predict_on_batch(dataset.test_images)
    second, first = np.sort(logits["first_view"], axis=1)[:, -2:].T
    is_uncertain = first - second < 0.8 * np.log(1 + 10 * 0.9 / 0.1)
    assert (logits["is_uncertain"] == is_uncertain).all() and 0 < is_uncertain.mean() < 1
    expected = np.where(is_uncertain[:, None], logits["logits"], logits["first_view"])
    probabilities = network.predict_proba(dataset.test_images)
    assert np.allclose(probabilities, softmax(expected.astype(float), axis=1), atol=1e-5)
    assert np.abs(softmax(logits["logits"], axis=1) - probabilities)[~is_uncertain].max() > 1e-4


@pytest.mark.integration
def test_a_saved_network_of_label_sets_tells_what_its_logits_mean(label_dataset, tmp_path):
    recipe = replace(RECIPE, epochs=60, peak_learning_rate=1e-2, shifts=FIVE_SHIFTS, precision="float32")
    network = train(label_dataset, recipe)
    network.save(tmp_path / "network.keras")
    loaded = load_network(tmp_path / "network.keras")
    probabilities = loaded.predict_proba(label_dataset.test_images)
    assert (probabilities == network.predict_proba(label_dataset.test_images)).all()
    logits = loaded.model.predict_on_batch(label_dataset.test_images)
    is_uncertain = np.abs(logits["first_view"]).min(axis=1) < 0.8 * np.log(1 + 0.9 / 0.1)
    assert (logits["is_uncertain"] == is_uncertain).all() and 0 < is_uncertain.mean() < 1
    expected = np.where(is_uncertain[:, None], logits["label_logits"], logits["first_view"])
    assert np.allclose(probabilities, expit(expected.astype(float)), atol=1e-5)
    assert probabilities.mean(axis=0) == pytest.approx(label_dataset.labels.mean(axis=0), abs=0.1)


def with_border(images):
    return np.pad(images, ((0, 0), (5, 6), (4, 7), (0, 0)))


@pytest.mark.integration
def test_a_deskewed_network_is_invariant_to_shifts(dataset):
    images = with_border(dataset.images)
    recipe = replace(RECIPE, epochs=10, peak_learning_rate=1e-2)
    for deskew in (True, False):
        network = train(replace(dataset, images=images), replace(recipe, deskew=deskew))
        moved = network.predict_proba(np.roll(images, (3, -2), axis=(1, 2)))
        assert np.allclose(moved, network.predict_proba(images), atol=0.05) is deskew


@pytest.mark.integration
@pytest.mark.parametrize("deskew", [False, True])
def test_a_network_takes_images_with_their_border_but_does_not_convolve_it(deskew, dataset, tmp_path):
    bordered = replace(dataset, images=with_border(dataset.images))
    network = train(bordered, replace(RECIPE, deskew=deskew, epochs=15, peak_learning_rate=1e-2))
    (convolution,) = (layer for layer in network.network.layers if isinstance(layer, layers.Conv2D))
    assert max(convolution.input.shape[1:3]) < 20 < 27 == network.network.input_shape[1]
    probabilities = network.predict_proba(bordered.images)
    assert (probabilities.argmax(axis=1) == bordered.labels).mean() > 0.8
    network.save(tmp_path / "network.keras")
    assert (load_network(tmp_path / "network.keras").predict_proba(bordered.images) == probabilities).all()


def test_a_recipe_can_keep_the_border(dataset):
    bordered = replace(dataset, images=with_border(dataset.images))
    network = train(bordered, replace(RECIPE, epochs=1, crop_border=False))
    (convolution,) = (layer for layer in network.network.layers if isinstance(layer, layers.Conv2D))
    assert convolution.input.shape[1:3] == (27, 27)


def test_divergence_raises_an_error(dataset):
    with pytest.raises(
        FloatingPointError, match=r"training diverged: the loss is (nan|inf) in epoch 1 of 2; lower the learning rate"
    ):
        train(dataset, replace(RECIPE, peak_learning_rate=1e30))


def test_fewer_rows_than_a_batch_are_enough(dataset):
    few = replace(dataset, images=dataset.images[:10], labels=dataset.labels[:10])
    assert np.isfinite(train(few).predict_proba(few.images)).all()


class Memory:
    """A checkpoint in memory, with the state after one epoch."""

    def __init__(self, epoch):
        self.epoch, self.state = epoch, None

    def load(self):
        return self.state

    def save(self, epoch, read_state):
        if epoch.number == self.epoch:
            self.state = read_state()


def test_a_network_that_is_compiled_once_is_trained_from_the_start_each_time(dataset):
    recipe = replace(RECIPE, epochs=2, shifts=((0, 0),))
    network = Network(small_body, recipe, 0, dataset.images.shape[1:], Target.of(dataset.labels, dataset.classes))
    train = network.make_train_function(dataset.images, dataset.labels)
    plain = replace(Augmentation(), symmetries=(), strength=0.0)
    mirrored = replace(plain, symmetries=("left-right", "upside-down"))
    first, second, again = (
        train(augmentation).predict_proba(dataset.test_images) for augmentation in (plain, mirrored, plain)
    )
    assert (first == again).all() and (first.argmax(axis=1) != second.argmax(axis=1)).mean() > 0.05
    turned = train(mirrored).predict_proba(dataset.test_images[:, ::-1, ::-1])
    assert np.allclose(turned, second, atol=0.01)  # the views of all symmetries are averaged


@pytest.mark.integration
def test_a_network_that_is_compiled_once_inverts_dark_glyphs(dataset):
    augmentation = replace(Augmentation(), symmetries=(), strength=1.0)
    light = with_border(dataset.images)
    predicted = []
    for images in (light, 255 - light):
        recipe = replace(RECIPE, epochs=5, peak_learning_rate=1e-2)
        network = Network(small_body, recipe, 0, images.shape[1:], Target.of(dataset.labels, dataset.classes))
        train = network.make_train_function(images, dataset.labels)
        predicted.append(train(augmentation).predict_proba(images))
    assert (predicted[0] == predicted[1]).all() and predicted[0].std() > 0.01


def test_a_resumed_training_keeps_the_augmentation_that_was_measured_before(monkeypatch):
    monkeypatch.setattr("competition.models.networks.augmentation_choice.MIN_STEPS", 1)
    monkeypatch.setitem(training.SMALL_RECIPE, "min_steps", 10)
    rng = np.random.default_rng(0)
    labels = np.arange(320) % 2
    images = rng.integers(0, 200, (320, 16, 16, 3)) + 50 * labels[:, None, None, None]
    recipe = replace(RECIPE, epochs=3, min_steps=0, augmentation=Augmentation())
    train = lambda checkpoint: Network(small_body, recipe, 0, (16, 16, 3), Target("class", 2)).fit(  # noqa: E731
        images.astype(np.uint8), labels, lambda epoch: None, checkpoint
    )
    checkpoint = Memory(2)
    undisturbed = train(checkpoint)
    assert checkpoint.state.augmentation["strength"] is not None
    monkeypatch.setattr(Network, "_make_small_train_function", lambda *arguments: pytest.fail("measured again"))
    resumed = train(checkpoint)
    assert resumed.remark == undisturbed.remark
    assert (resumed.predict_proba(images[:50]) == undisturbed.predict_proba(images[:50])).all()
