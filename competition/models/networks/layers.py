"""Building blocks that several networks share."""

from collections.abc import Callable
from typing import Any

from keras import layers

from competition.models.networks.fast_layers import FastConv2D, FusedBatchNormalization


def conv_bn_relu(x: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    """Convolution, batch normalization, ReLU; `valid` becomes `same` where the image is smaller than the filter."""
    if padding == "valid" and min(x.shape[1:3]) < size:
        padding = "same"
    return layers.ReLU()(_batch_norm(_conv(x, filters, size, strides, padding)))


def max_pool(x: Any) -> Any:
    """2x2 max pooling; a side of one pixel stays."""
    return layers.MaxPooling2D(padding="same")(x)


def halve_to(x: Any, side: int, filters: int) -> Any:
    """Halve the image by strided convolutions until its shorter side has at most so many pixels."""
    while min(x.shape[1:3]) > side:
        x = conv_bn_relu(x, filters, 3, strides=2)
    return x


def residual_block(x: Any, transform: Callable[[Any], Any] = lambda residual: residual) -> Any:
    """Add two 3x3 convolutions to x; the residual starts at zero, so that the network is shallow at first."""
    filters = x.shape[-1]
    residual = _batch_norm(_conv(conv_bn_relu(x, filters, 3), filters, 3), gamma_initializer="zeros")
    return layers.ReLU()(layers.Add()([x, transform(residual)]))


def squeeze_and_excite(x: Any) -> Any:
    """Scale each channel by a weight computed from the global average of all channels."""
    filters = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Dense(filters // 8, activation="relu")(weights)
    return layers.Multiply()([x, layers.Dense(filters, activation="sigmoid")(weights)])


def _conv(x: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    return FastConv2D(filters, size, strides, padding, use_bias=False, kernel_initializer="he_normal")(x)


def _batch_norm(x: Any, gamma_initializer: str = "ones") -> Any:
    # Low momentum: the moving averages have to follow the weights within a few thousand steps.
    return FusedBatchNormalization(momentum=0.9, gamma_initializer=gamma_initializer)(x)
