import keras
import numpy as np
import pytest
from keras import layers

from competition.models.networks.fast_layers import FastConv2D, FusedBatchNormalization, fold_batch_normalization
from competition.models.networks.layers import conv_bn_relu, max_pool, residual_block

RNG = np.random.default_rng(0)


def train_both(fast, slow, inputs, steps=3):
    """Train two layers with the same weights on the same batches, and return the trained models."""
    models = []
    for layer in (fast, slow):
        images = keras.Input(inputs.shape[1:])
        model = keras.Model(images, layer(images))
        if models:
            model.set_weights(models[0][1])
        models.append((model, model.get_weights()))
    targets = RNG.normal(size=models[0][0](inputs).shape).astype(np.float32)
    for model, _ in models:
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        for _ in range(steps):
            model.train_on_batch(inputs, targets)
    return [model for model, _ in models]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "shape"), [(3, (6, 5)), (4, (7, 7)), (2, (4, 9))])
def test_a_fast_convolution_trains_like_keras(padding, size, shape):
    inputs = RNG.normal(size=(8, *shape, 128)).astype(np.float32)
    arguments = {"filters": 6, "kernel_size": size, "padding": padding, "dtype": "float32"}
    fast, slow = train_both(FastConv2D(**arguments), layers.Conv2D(**arguments), inputs)
    for weights, expected in zip(fast.get_weights(), slow.get_weights(), strict=True):
        assert np.allclose(weights, expected, atol=1e-5)


@pytest.mark.parametrize("arguments", [{"strides": 2}, {"dilation_rate": 2}])
def test_other_convolutions_are_left_to_keras(arguments):
    inputs = RNG.normal(size=(8, 9, 9, 128)).astype(np.float32)
    arguments = {"filters": 6, "kernel_size": 3, "dtype": "float32"} | arguments
    fast, slow = train_both(FastConv2D(**arguments), layers.Conv2D(**arguments), inputs)
    assert np.allclose(fast.get_weights()[0], slow.get_weights()[0], atol=1e-6)


def test_fused_normalization_trains_like_keras():
    inputs = RNG.normal(2, 3, size=(64, 5, 5, 7)).astype(np.float32)
    arguments = {"momentum": 0.5, "dtype": "float32"}
    fast, slow = train_both(FusedBatchNormalization(**arguments), layers.BatchNormalization(**arguments), inputs)
    for weights, expected in zip(fast.get_weights(), slow.get_weights(), strict=True):
        assert np.allclose(weights, expected, rtol=2e-3, atol=1e-4)  # the fused kernel's variance is unbiased
    assert np.allclose(fast.predict_on_batch(inputs), slow.predict_on_batch(inputs), atol=0.01)


def test_a_folded_network_predicts_the_same_with_layers_of_keras(tmp_path):
    keras.config.set_dtype_policy("float32")
    images = keras.Input((16, 16, 3))
    x = max_pool(conv_bn_relu(images, 8, 3, strides=2))
    features = layers.BatchNormalization()(layers.Dense(4)(layers.Flatten()(residual_block(x))))  # not folded
    network = keras.Model(images, features)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    folded = fold_batch_normalization(network)
    batch = RNG.normal(size=(5, 16, 16, 3)).astype(np.float32)
    assert np.allclose(folded.predict_on_batch(batch), network.predict_on_batch(batch), atol=1e-4)
    normalizations = [layer for layer in folded.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(normalizations) == 1 and {type(layer).__module__.split(".")[0] for layer in folded.layers} == {"keras"}
    folded.save(tmp_path / "network.keras")
    keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
