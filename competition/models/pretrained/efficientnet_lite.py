"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6) up to its pooled features.

To extract features, batch normalizations are folded into the convolutions before them. To train the network further,
its last blocks keep them, and only these are trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from competition.models.networks.fast_layers import FastConv2D, FusedBatchNormalization

EPSILON = 1e-3  # of the batch normalizations
BLOCKS = 16
HALVING_BLOCKS = (1, 3, 5, 11)  # those that halve height and width
MEAN, SCALE = 127, 128  # of the pixels in training
NORMALIZATION_PARTS = ("weight", "bias", "running_mean", "running_var")
MOMENTUM = 0.9  # of the moving averages, which have to follow the weights within a thousand steps

Weights = Mapping[str, np.ndarray]


def build_network(weights: Weights, size: int, precision: str) -> keras.Model:
    """Build the network from uint8 images (rows, size, size, 3) to float32 features (rows, 1280)."""
    images = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / SCALE, offset=-MEAN / SCALE, dtype="float32")(images)
    frozen = _FoldedLayers(weights, precision)
    return keras.Model(images, layers.GlobalAveragePooling2D(dtype="float32")(_apply_blocks(x, frozen, frozen, BLOCKS)))


def trainable_features(x: Any, weights: Weights, frozen_blocks: int) -> Any:
    """Pooled features of colour images in 0..1 by a network whose first blocks are frozen."""
    x = layers.Rescaling(255 / SCALE, offset=-MEAN / SCALE, dtype="float32")(x)
    frozen = _FoldedLayers(weights, keras.config.dtype_policy().name, uses_keras_layers=True)
    return layers.GlobalAveragePooling2D()(_apply_blocks(x, frozen, _NormalizedLayers(weights), frozen_blocks))


def _apply_blocks(x: Any, frozen: "_FoldedLayers", trained: "_FoldedLayers | _NormalizedLayers", count: int) -> Any:
    """The stem, of which and of `count` blocks the layers are frozen, the other blocks and the head."""
    x = frozen.convolution(x, "_conv_stem", "_bn0", strides=2)
    for number in range(BLOCKS):
        make, strides = frozen if number < count else trained, 2 if number in HALVING_BLOCKS else 1
        x = _block(x, make, f"_blocks.{number}.", strides)
    return trained.convolution(x, "_conv_head", "_bn1")


def _block(x: Any, make: "_FoldedLayers | _NormalizedLayers", prefix: str, strides: int) -> Any:
    """An inverted residual block: expansion, depthwise convolution, linear projection."""
    y = x
    if f"{prefix}_expand_conv.weight" in make.weights:
        y = make.convolution(y, f"{prefix}_expand_conv", f"{prefix}_bn0")
    y = make.depthwise_convolution(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", strides)
    y = make.convolution(y, f"{prefix}_project_conv", f"{prefix}_bn2", activation=None)
    return layers.Add(dtype=make.precision)([x, y]) if x.shape == y.shape else y


@dataclass(frozen=True)
class _FoldedLayers:
    """Convolutions that are not trained, each with its batch normalization."""

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
        y = layer(x)
        layer.set_weights(weights)
        return y


@dataclass(frozen=True)
class _NormalizedLayers:
    """Convolutions and batch normalizations to be trained."""

    weights: Weights
    precision: None = None  # that of the policy

    def convolution(
        self, x: Any, name: str, normalization: str, strides: int = 1, activation: str | None = "relu6"
    ) -> Any:
        """Convolution, batch normalization and ReLU6, if any."""
        kernel = self.weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        layer = FastConv2D(kernel.shape[3], kernel.shape[:2], strides, "same", use_bias=False)
        y = self._normalize(self._initialize(layer, x, kernel), normalization)
        return layers.ReLU(6.0)(y) if activation else y

    def depthwise_convolution(self, x: Any, name: str, normalization: str, strides: int) -> Any:
        """Depthwise convolution, batch normalization and ReLU6."""
        kernel = self.weights[f"{name}.weight"].transpose(2, 3, 0, 1)
        layer = layers.DepthwiseConv2D(kernel.shape[:2], strides, "same", use_bias=False)
        return layers.ReLU(6.0)(self._normalize(self._initialize(layer, x, kernel), normalization))

    def _normalize(self, x: Any, name: str) -> Any:
        parts = [self.weights[f"{name}.{part}"] for part in NORMALIZATION_PARTS]
        return self._initialize(FusedBatchNormalization(momentum=MOMENTUM, epsilon=EPSILON), x, *parts)

    def _initialize(self, layer: Any, x: Any, *weights: np.ndarray) -> Any:
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
