"""The groups of layers that networks share."""

from collections.abc import Callable
from typing import Any

from keras import layers


def convolution(x: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    """Convolution, batch normalisation, ReLU; `valid` turns to `same` where the image is smaller than the filter."""
    if padding == "valid" and min(x.shape[1:3]) < size:
        padding = "same"
    return layers.ReLU()(_normalised(x, filters, size, strides, padding))


def halve(x: Any) -> Any:
    """Max-pooling by two; a side that is down to one pixel stays."""
    return layers.MaxPooling2D(padding="same")(x)


def shortcut(x: Any, after: Callable[[Any], Any] = lambda change: change) -> Any:
    """Add to x what two 3x3 convolutions make of it; at first they make nothing, and the network starts shallow."""
    filters = x.shape[-1]
    change = _normalised(convolution(x, filters, 3), filters, 3, scale_at_first="zeros")
    return layers.ReLU()(layers.Add()([x, after(change)]))


def squeeze_and_excite(x: Any) -> Any:
    """Weigh each channel by what all of them have in the mean over the image."""
    filters = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Dense(filters // 8, activation="relu")(weights)
    return layers.Multiply()([x, layers.Dense(filters, activation="sigmoid")(weights)])


def _normalised(
    x: Any, filters: int, size: int, strides: int = 1, padding: str = "same", scale_at_first: str = "ones"
) -> Any:
    """Convolution and batch normalisation."""
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, kernel_initializer="he_normal")(x)
    # A short memory: over an annealed run of some thousand steps the statistics have to follow the weights.
    return layers.BatchNormalization(momentum=0.9, gamma_initializer=scale_at_first)(x)
