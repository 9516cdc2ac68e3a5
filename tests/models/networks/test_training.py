import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, TRAIN_ROWS, small_digits
from keras import layers
from scipy.special import softmax

from competition.data.augmentation import Warp
from competition.models.networks.recipe import FIVE_VIEWS, Recipe, one_cycle
from competition.models.networks.training import Network, load

RECIPE = Recipe(epochs=2, batch=64, peak=3e-3, schedule=one_cycle, smoothing=0.1, warp=Warp())


def small(x):
    return layers.Dropout(0.2)(layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(x)))


def trained(dataset, recipe=RECIPE, seed=0, observer=lambda epoch: None):
    network = Network(small, recipe, seed, dataset.images.shape[1:], len(dataset.classes))
    return network.fit(dataset.images, dataset.labels, observer)


def test_the_same_seed_gives_the_same_bytes_and_another_others(dataset):
    first = trained(dataset).predict_proba(dataset.test_images)
    trained(dataset, seed=5)  # whatever ran before in this process
    assert trained(dataset).predict_proba(dataset.test_images).tobytes() == first.tobytes()
    assert trained(dataset, seed=1).predict_proba(dataset.test_images).tobytes() != first.tobytes()


def test_it_learns(dataset):
    long = trained(dataset, replace(RECIPE, epochs=25, peak=1e-2, warp=None))
    assert (long.predict_proba(dataset.images).argmax(axis=1) == dataset.labels).mean() > 0.9


def test_the_observer_sees_every_epoch_and_never_steers(dataset):
    seen = []

    def look(epoch):
        epoch.predict_proba(dataset.test_images)
        seen.append(epoch)

    watched = trained(dataset, observer=look).predict_proba(dataset.test_images)
    assert [(epoch.done, epoch.of) for epoch in seen] == [(1, 2), (2, 2)]
    assert seen[0].loss > seen[1].loss > 0 and seen[1].images_per_second > 0
    assert (watched == trained(dataset).predict_proba(dataset.test_images)).all()


def test_few_rows_are_trained_on_for_as_many_steps(dataset):
    seen = []
    trained(dataset, replace(RECIPE, epochs=1, least_steps=20), observer=seen.append)
    steps = len(dataset.images) // RECIPE.batch
    assert 20 <= len(seen) * steps < 20 + steps and seen[-1].done == seen[-1].of


def test_a_kept_network_predicts_the_same_and_holds_no_foreign_code(dataset, tmp_path):
    network = trained(dataset)
    network.save(tmp_path / "network.keras")
    kept = load(tmp_path / "network.keras").predict_proba(dataset.test_images)
    assert (kept == network.predict_proba(dataset.test_images)).all()


def test_a_kept_network_that_could_run_code_is_refused(tmp_path):
    images = keras.Input((4, 4, 1))
    keras.Model(images, layers.Lambda(lambda x: x + 1)(images)).save(tmp_path / "network.keras")
    with pytest.raises(ValueError, match="lambda"):
        load(tmp_path / "network.keras")


BOTH_BACKENDS = """
import keras, sys
import numpy as np
from dataclasses import replace
from pathlib import Path
from competition.data.dataset import load
from competition.models.member import Member
from competition.crossval.folds import split
from competition.crossval.provenance import ingredients
from test_training import RECIPE, trained

dataset = load(Path(sys.argv[1]))
network = trained(dataset, replace(RECIPE, epochs=20, peak=1e-2))
right = (network.predict_proba(dataset.test_images).argmax(axis=1) == np.load(sys.argv[2])).mean()
again = trained(dataset, replace(RECIPE, epochs=20, peak=1e-2)).predict_proba(dataset.test_images)
assert (again == network.predict_proba(dataset.test_images)).all()
made_of = ingredients(Member.named("quick"), dataset, split(dataset, 2, 0))
print(keras.backend.backend(), made_of["backend"], made_of.get("jax"), made_of.get("tensorflow"), right)
"""


@pytest.mark.slow
def test_jax_trains_as_tensorflow_does(competition_folder, tmp_path):
    np.save(tmp_path / "answers.npy", small_digits()[1][TRAIN_ROWS:])
    right = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {
            "KERAS_BACKEND": backend,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{Path(__file__).parent}",
        }
        arguments = [sys.executable, "-c", BOTH_BACKENDS, str(competition_folder), str(tmp_path / "answers.npy")]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        *names, accuracy = done.stdout.split()
        jax, tensorflow = (version(library) if library == backend else "None" for library in ("jax", "tensorflow"))
        assert names == [backend, backend, jax, tensorflow]
        right[backend] = float(accuracy)
    assert min(right.values()) > 0.85 and abs(right["jax"] - right["tensorflow"]) < 0.06, right


def test_views_are_shifts_whose_logits_are_averaged(dataset):
    exact = replace(RECIPE, precision="float32")
    one = trained(dataset, exact)
    five = trained(dataset, replace(exact, views=FIVE_VIEWS)).predict_proba(dataset.test_images)
    padded = np.pad(dataset.test_images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moved = [padded[:, 1 - down : 17 - down, 1 - right : 17 - right] for down, right in FIVE_VIEWS]
    logits = [one.core.predict_on_batch(np.ascontiguousarray(images)) for images in moved]
    averaged = softmax(np.mean(logits, axis=0).astype(np.float64), axis=1)
    assert np.allclose(five, averaged, atol=1e-5)
    assert not np.allclose(five, one.predict_proba(dataset.test_images), atol=1e-3)


def test_a_network_that_diverges_says_so(dataset):
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) in epoch 1 of 2"):
        trained(dataset, replace(RECIPE, peak=1e30))


def test_fewer_rows_than_a_batch_are_enough(dataset):
    few = replace(dataset, images=dataset.images[:10], labels=dataset.labels[:10])
    assert np.isfinite(trained(few).predict_proba(few.images)).all()
