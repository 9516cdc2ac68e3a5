"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6) up to its pooled features.

Batch normalizations are folded into the convolutions before them, except in the part that `fine_tuning` trains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers, ops

EPSILON = 1e-3  # of the batch normalizations
BLOCKS = 16
HALVING_BLOCKS = (1, 3, 5, 11)  # those that halve height and width
MEAN, SCALE = 127, 128  # of the pixels in training
NORMALIZATION_PARTS = ("weight", "bias", "running_mean", "running_var")

Weights = Mapping[str, np.ndarray]


class Layers(Protocol):
    """Makes the layers of the network from its weights."""

    @property
    def weights(self) -> Weights:
        """The weights by name, as published."""

    @property
    def precision(self) -> str | None:
        """The precision of the layers; None: that of the policy."""

    def convolution(
        self, x: Any, name: str, normalization: str, strides: int = 1, activation: str | None = "relu6"
    ) -> Any:
        """Convolution, batch normalization and activation."""

    def depthwise_convolution(self, x: Any, name: str, normalization: str, strides: int) -> Any:
        """Depthwise convolution, batch normalization and ReLU6."""


def build_network(weights: Weights, size: int, precision: str) -> keras.Model:
    """Build the network from uint8 images (rows, size, size, 3) to float32 features (rows, 1280)."""
    images = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / SCALE, offset=-MEAN / SCALE, dtype="float32")(images)
    frozen = FoldedLayers(weights, precision)
    return keras.Model(images, layers.GlobalAveragePooling2D(dtype="float32")(apply_blocks(x, frozen, frozen, BLOCKS)))


def apply_blocks(x: Any, frozen: Layers, trained: Layers, frozen_blocks: int) -> Any:
    """Stem, blocks and head; the stem and the first blocks are frozen."""
    x = frozen.convolution(x, "_conv_stem", "_bn0", strides=2)
    for number in range(BLOCKS):
        make = frozen if number < frozen_blocks else trained
        x = _block(x, make, f"_blocks.{number}.", strides=2 if number in HALVING_BLOCKS else 1)
    return trained.convolution(x, "_conv_head", "_bn1")


def _block(x: Any, make: Layers, prefix: str, strides: int) -> Any:
    """An inverted residual block: expansion, depthwise convolution, linear projection."""
    y = x
    if f"{prefix}_expand_conv.weight" in make.weights:
        y = make.convolution(y, f"{prefix}_expand_conv", f"{prefix}_bn0")
    y = make.depthwise_convolution(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", strides)
    y = make.convolution(y, f"{prefix}_project_conv", f"{prefix}_bn2", activation=None)
    return layers.Add(dtype=make.precision)([x, y]) if x.shape == y.shape else y


@dataclass(frozen=True)
class FoldedLayers:
    """Makes frozen convolutions, each with its batch normalization."""

    weights: Weights
    precision: str
    uses_keras_layers: bool = False  # so that the network can be saved

    def convolution(
        self, x: Any, name: str, normalization: str, strides: int = 1, activation: str | None = "relu6"
    ) -> Any:
        """Convolution, batch normalization and activation."""
        kernel, bias = _fold(self.weights, name, normalization)
        layer = layers.Conv2D(
            len(kernel), kernel.shape[2:], strides, padding="same", activation=activation, dtype=self.precision
        )
        return self._freeze(layer, x, kernel.transpose(2, 3, 1, 0), bias)

    def depthwise_convolution(self, x: Any, name: str, normalization: str, strides: int) -> Any:
        """Depthwise convolution, batch normalization and ReLU6."""
        kernel, bias = _fold(self.weights, name, normalization)
        kernel = kernel.transpose(2, 3, 0, 1)
        if keras.backend.backend() == "jax" and not self.uses_keras_layers:
            return _ShiftedSums(kernel[..., 0], bias, strides, self.precision)(x)
        layer = layers.DepthwiseConv2D(
            kernel.shape[:2], strides, padding="same", activation="relu6", dtype=self.precision
        )
        return self._freeze(layer, x, kernel, bias)

    def _freeze(self, layer: Any, x: Any, *weights: np.ndarray) -> Any:
        layer.trainable = False
        return apply_layer(layer, x, *weights)


def apply_layer(layer: Any, x: Any, *weights: np.ndarray) -> Any:
    """The output of the layer, which gets these weights."""
    y = layer(x)
    layer.set_weights(weights)
    return y


class _ShiftedSums(layers.Layer):
    """A depthwise convolution as a sum of shifted images, which JAX compiles to code four times as fast on CPUs."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, strides: int, precision: str) -> None:
        super().__init__(dtype=precision)
        self.kernel, self.bias, self.strides = kernel, bias, strides

    def call(self, x: Any) -> Any:
        """ReLU6 of the convolution, with the SAME padding of TensorFlow."""
        side, stride = len(self.kernel), self.strides
        height, width = (-(-length // stride) for length in x.shape[1:3])
        paddings = [max((-(-length // stride) - 1) * stride + side - length, 0) for length in x.shape[1:3]]
        padded = ops.pad(x, ((0, 0), *((padding // 2, padding - padding // 2) for padding in paddings), (0, 0)))
        y = ops.cast(self.bias, x.dtype)
        for row in range(side):
            for column in range(side):
                shifted = padded[:, row : row + stride * height : stride, column : column + stride * width : stride]
                y = y + shifted[:, :height, :width] * ops.cast(self.kernel[row, column], x.dtype)
        return ops.relu6(y)


def _fold(weights: Weights, name: str, normalization: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (outputs, inputs, height, width) and bias of a convolution and its batch normalization together."""
    gamma, beta, mean, variance = (weights[f"{normalization}.{part}"] for part in NORMALIZATION_PARTS)
    factor = gamma / np.sqrt(variance + EPSILON)
    return weights[f"{name}.weight"] * factor[:, None, None, None], beta - mean * factor
