"""The trainer for GPUs, run on a CPU: the variable that lists the detected GPUs is set to name one."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from competition.models.gpus import DETECTED

SCRIPT = """
import os

import numpy as np
from keras import layers

from competition.data.augmentation import Augmentation
from competition.models import gpus
from competition.models.interface import Target
from competition.models.networks import trainers
from competition.models.networks.layers import conv_bn_relu
from competition.models.networks.recipe import Recipe, one_cycle
from competition.models.networks.training import Network

random = np.random.default_rng(0)
numbers = random.integers(0, 4, 500)
images = (random.integers(0, 120, (500, 9, 8, 1)) + 30 * numbers[:, None, None, None]).astype(np.uint8)
bits = (numbers[:, None] >> np.arange(2)) & 1
targets = {"class": (Target("class", 4), numbers), "labels": (Target("labels", 2), bits)}
created = []

def plain(x):
    return layers.Flatten()(conv_bn_relu(conv_bn_relu(x, 8, 3), 8, 3, strides=2))

def with_dropout(x):
    return layers.Dropout(0.2)(plain(x))

def train(gpu, kind, precision, augmentation):
    os.environ[gpus.DETECTED] = gpu
    gpus.usable_gpus.cache_clear()
    # 71 steps in an epoch are not a whole number of calls.
    recipe = Recipe(2, 0, 7, "adamw", 3e-3, one_cycle, 0.01, 0.1, augmentation=augmentation, precision=precision)
    (target, labels), losses = targets[kind], []
    network = Network(with_dropout if augmentation else plain, recipe, 0, images.shape[1:], target)
    network.fit(images, labels, lambda epoch: losses.append(epoch.loss))
    return np.array(losses), network.predict_proba(images)

def train_again(gpu, kind, precision):
    # Predictions after training without augmentation, with, and without again.
    os.environ[gpus.DETECTED] = gpu
    gpus.usable_gpus.cache_clear()
    recipe = Recipe(2, 0, 50, "adamw", 3e-3, one_cycle, 0.01, 0.1, precision=precision)
    (target, labels), none = targets[kind], Augmentation(symmetries=(), strength=0.0)
    repeat = Network(plain, recipe, 0, images.shape[1:], target).make_train_function(images, labels)
    return [repeat(each).predict_proba(images) for each in (none, augmentation, none)]

for name in ("DeviceTrainer", "HostTrainer"):
    def create(*arguments, original=getattr(trainers, name)):
        created.append(original.__name__)
        return original(*arguments)
    setattr(trainers, name, create)

augmentation = Augmentation(symmetries=("left-right",), strength=1.0)
for kind, precision in (("class", "mixed_float16"), ("labels", "float32")):
    first, other, again = train_again("0=8.0", kind, precision)
    assert np.allclose(first, again, atol=1e-3) and not np.allclose(first, other, atol=1e-2), (kind, precision)
assert created == 2 * ["DeviceTrainer"], created
created.clear()

settings = [("class", "float32", None), ("labels", "float32", augmentation), ("class", "mixed_float16", augmentation)]
# The GPU comes first, since Keras does not use XLA once TensorFlow is deterministic.
on_gpu, on_cpu = ([train(gpu, *each) for each in settings] for gpu in ("0=8.0", ""))
assert created == 3 * ["DeviceTrainer"] + 3 * ["HostTrainer"], created
for (_, precision, augmentation), (losses, predictions), (expected_losses, expected) in zip(settings, on_gpu, on_cpu):
    # XLA draws other random numbers for TensorFlow.
    tolerance = 0.1 if augmentation else 0.005
    print(precision, losses, expected_losses, np.abs(predictions - expected).max())
    np.testing.assert_allclose(losses, expected_losses, rtol=tolerance)
    assert np.abs(predictions - expected).mean() < tolerance
"""


@pytest.mark.integration
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_network_trained_from_the_memory_of_the_device_is_the_same(backend):
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "0"}
    environment.pop(DETECTED, None)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Proceeding with `jit_compile=False`" not in result.stderr
