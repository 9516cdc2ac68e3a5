from dataclasses import replace

import keras
import numpy as np
import pytest

from competition.models.interface import Target
from competition.models.pretrained import weights
from competition.models.pretrained.efficientnet_lite import BLOCKS, build_network
from competition.models.pretrained.fine_tuning import fine_tuned_features
from competition.models.registry import load_spec

SIDE = 64


@pytest.fixture(autouse=True)
def _use_downloaded_weights(pretrained_wheel, monkeypatch):
    monkeypatch.setattr(weights, "DOWNLOADS", pretrained_wheel.parent)
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("frozen_blocks", [0, 8, BLOCKS])
def test_before_training_the_features_are_those_of_the_frozen_network(frozen_blocks, pictures):
    images = keras.Input((SIDE, SIDE, 3))
    network = keras.Model(images, fine_tuned_features(images, weights.downloaded_weights(), frozen_blocks))
    expected = build_network(weights.downloaded_weights(), SIDE, "float32").predict_on_batch(pictures[:4])
    np.testing.assert_allclose(network.predict_on_batch(pictures[:4] / np.float32(255)), expected, atol=1e-3)


def train(pictures, **recipe):
    """Train `finetuned` for a few steps."""
    spec = load_spec("finetuned")
    recipe = replace(spec.recipe, epochs=2, min_steps=0, augmentation=None, precision="float32", **recipe)
    model = spec.build(recipe, 0, pictures.shape[1:], Target("class", 2))
    return model.fit(pictures, np.arange(len(pictures)) % 2, lambda epoch: None)


def test_only_the_last_blocks_are_trained(pictures):
    pretrained, trained = weights.downloaded_weights(), train(pictures)
    kernels = [layer.kernel for layer in trained.network.layers if hasattr(layer, "kernel")]
    frozen = [kernel for kernel in kernels if not kernel.trainable]
    assert len(frozen) == 1 + 2 + 7 * 3  # the stem, the first block, which does not expand, and the others
    head = pretrained["_conv_head.weight"].transpose(2, 3, 1, 0)
    changed = next(kernel for kernel in kernels if kernel.shape == head.shape)
    assert 0 < np.abs(np.asarray(changed) - head).max() < 0.1


def test_grey_images_are_shown_in_three_channels_and_small_ones_enlarged(pictures):
    small_and_grey = pictures[:, ::2, ::2, :1]
    model = train(small_and_grey)
    sizes = [layer.output.shape[1:] for layer in model.network.layers]
    assert (32, 32, 3) in sizes and (96, 96, 3) in sizes
    assert model.predict_proba(small_and_grey).shape == (len(pictures), 2)
