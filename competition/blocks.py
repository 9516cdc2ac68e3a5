"""The groups of layers that networks share."""

from typing import Any

from keras import layers


def convolution(x: Any, filters: int, size: int, strides: int = 1, padding: str = "same") -> Any:
    """Convolution, batch normalisation, ReLU; `valid` turns to `same` where the image is smaller than the filter."""
    if padding == "valid" and min(x.shape[1:3]) < size:
        padding = "same"
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, kernel_initializer="he_normal")(x)
    # A short memory: over an annealed run of some thousand steps the statistics have to follow the weights.
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def halve(x: Any) -> Any:
    """Max-pooling by two; a side that is down to one pixel stays."""
    return layers.MaxPooling2D(padding="same")(x)
