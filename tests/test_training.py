from dataclasses import replace

import numpy as np
import pytest
from keras import layers

from competition.recipe import Recipe, Warp, one_cycle
from competition.training import Network, load

RECIPE = Recipe(epochs=2, batch=64, peak=3e-3, schedule=one_cycle, smoothing=0.1, warp=Warp())


def small(x):
    return layers.Dropout(0.2)(layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(x)))


def trained(dataset, recipe=RECIPE, seed=0, observer=lambda done, of: None):
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
    watched = trained(dataset, observer=lambda *epoch: seen.append(epoch)).predict_proba(dataset.test_images)
    assert seen == [(1, 2), (2, 2)]
    assert (watched == trained(dataset).predict_proba(dataset.test_images)).all()


def test_a_kept_network_predicts_the_same_and_holds_no_foreign_code(dataset, tmp_path):
    network = trained(dataset)
    network.save(tmp_path / "network.keras")
    logits = load(tmp_path / "network.keras").predict_on_batch(dataset.test_images)
    assert (logits.argmax(axis=1) == network.predict_proba(dataset.test_images).argmax(axis=1)).all()


def test_a_network_that_diverges_says_so(dataset):
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) in epoch 1 of 2"):
        trained(dataset, replace(RECIPE, peak=1e30))


def test_fewer_rows_than_a_batch_are_enough(dataset):
    few = replace(dataset, images=dataset.images[:10], labels=dataset.labels[:10])
    assert np.isfinite(trained(few).predict_proba(few.images)).all()
