"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6) up to its pooled features.

Batch normalizations are folded into the convolutions before them.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

EPSILON = 1e-3  # of the batch normalizations
BLOCKS = 16
HALVING_BLOCKS = (1, 3, 5, 11)  # those that halve height and width
MEAN, SCALE = 127, 128  # of the pixels in training

Weights = Mapping[str, np.ndarray]


def build_network(weights: Weights, size: int, precision: str) -> keras.Model:
    """Build the network from uint8 images (rows, size, size, 3) to float32 features (rows, 1280)."""
    images = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / SCALE, offset=-MEAN / SCALE, dtype="float32")(images)
    x = _convolution(x, weights, "_conv_stem", "_bn0", precision, strides=2)
    for number in range(BLOCKS):
        x = _block(x, weights, f"_blocks.{number}.", precision, strides=2 if number in HALVING_BLOCKS else 1)
    x = _convolution(x, weights, "_conv_head", "_bn1", precision)
    return keras.Model(images, layers.GlobalAveragePooling2D(dtype="float32")(x))


def _block(x: Any, weights: Weights, prefix: str, precision: str, strides: int) -> Any:
    """An inverted residual block: expansion, depthwise convolution, linear projection."""
    y = x
    if f"{prefix}_expand_conv.weight" in weights:
        y = _convolution(y, weights, f"{prefix}_expand_conv", f"{prefix}_bn0", precision)
    y = _depthwise_convolution(y, weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", precision, strides)
    y = _convolution(y, weights, f"{prefix}_project_conv", f"{prefix}_bn2", precision, activation=None)
    return layers.Add(dtype=precision)([x, y]) if x.shape == y.shape else y


def _convolution(
    x: Any,
    weights: Weights,
    name: str,
    normalization: str,
    precision: str,
    strides: int = 1,
    activation: str | None = "relu6",
) -> Any:
    kernel, bias = _fold(weights, name, normalization)
    layer = layers.Conv2D(
        len(kernel), kernel.shape[2:], strides, padding="same", activation=activation, dtype=precision
    )
    y = layer(x)
    layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    return y


def _depthwise_convolution(
    x: Any, weights: Weights, name: str, normalization: str, precision: str, strides: int
) -> Any:
    kernel, bias = _fold(weights, name, normalization)
    kernel = kernel.transpose(2, 3, 0, 1)
    if keras.backend.backend() == "jax":
        return _ShiftedSums(kernel[..., 0], bias, strides, precision)(x)
    layer = layers.DepthwiseConv2D(kernel.shape[:2], strides, padding="same", activation="relu6", dtype=precision)
    y = layer(x)
    layer.set_weights([kernel, bias])
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
    gamma, beta, mean, variance = (
        weights[f"{normalization}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gamma / np.sqrt(variance + EPSILON)
    return weights[f"{name}.weight"] * factor[:, None, None, None], beta - mean * factor
