"""Deskewing in Keras operations, so that it becomes part of a saved network."""

from typing import Any

import numpy as np
from keras import ops

EPSILON = 1e-6


def deskew(images: Any) -> Any:
    """Centre each image's mass and remove its slant by image moments: uint8 (rows, height, width, 1).

    The same transform as `competition.models.classical.features.Deskew`.
    """
    grey = ops.mean(ops.cast(images, "float32"), axis=3)
    _, height, width = grey.shape
    y, x = (np.arange(side, dtype=np.float32) for side in (height, width))
    row_sums, column_sums = ops.sum(grey, axis=2), ops.sum(grey, axis=1)
    mass = ops.sum(row_sums, axis=1, keepdims=True) + EPSILON
    centre_y = ops.sum(row_sums * y, axis=1, keepdims=True) / mass
    centre_x = ops.sum(column_sums * x, axis=1, keepdims=True) / mass
    offset_y, offset_x = ops.subtract(y, centre_y), ops.subtract(x, centre_x)
    variance_y = ops.sum(row_sums * offset_y**2, axis=1, keepdims=True) / mass
    row_moments = ops.sum(grey * ops.expand_dims(offset_x, 1), axis=2)
    slant = ops.sum(row_moments * offset_y, axis=1, keepdims=True) / mass / (variance_y + EPSILON)
    # Source coordinates of each output pixel: shifted along its row by the slant, and by the offset of the centre.
    # Keras takes the second operand of a sum for a bias if its only long axis is as long as the last one of the first.
    source_y = ops.add(y, centre_y - (height - 1) / 2)
    shift = ops.subtract(slant * (source_y - centre_y), (width - 1) / 2 - centre_x)
    source_x = ops.add(x, ops.expand_dims(shift, 2))
    rows_first = ops.transpose(grey, (0, 2, 1))
    centred = _interpolate(rows_first, ops.repeat(ops.expand_dims(source_y, 1), width, axis=1))
    deskewed = _interpolate(ops.transpose(centred, (0, 2, 1)), source_x)
    return ops.expand_dims(ops.cast(ops.round(deskewed), "uint8"), 3)


def _interpolate(images: Any, position: Any) -> Any:
    """Interpolate along the last axis of (n, height, width) at fractional positions of that shape; 0 outside."""
    width = images.shape[2]
    padded = ops.pad(images, ((0, 0), (0, 0), (1, 1)))
    position = ops.clip(position + 1, 0, width + 0.999)
    floor = ops.floor(position)
    low = ops.cast(floor, "int32")
    fraction = position - floor
    high = ops.minimum(low + 1, width + 1)
    return (
        ops.take_along_axis(padded, low, axis=2) * (1 - fraction) + ops.take_along_axis(padded, high, axis=2) * fraction
    )
