"""Affine maps of images that every backend can compile."""

from typing import Any

import keras
from keras import ops

from competition.models.gpus import trains_on_gpu


def transform_images(images: Any, transform: Any) -> Any:
    """Images whose pixel at (x, y) is interpolated at (a x + b y + c, d x + e y + f) of the original; 0 outside of it.

    The images are (rows, height, width, channels), the transform is (rows, 8), beginning with a to f.
    """
    if keras.backend.backend() == "tensorflow" and trains_on_gpu():
        return gather_pixels(images, transform)  # XLA has no operation for TensorFlow's own kernel
    return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="constant")


def gather_pixels(images: Any, transform: Any) -> Any:
    """The same in basic operations."""
    _, height, width, channels = images.shape
    a, b, c, d, e, f = (ops.reshape(transform[:, column], (-1, 1, 1)) for column in range(6))
    x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, -1))
    y = ops.reshape(ops.arange(height, dtype="float32"), (1, -1, 1))
    # With a border of zeros, whose first pixel has the coordinate 0.
    bordered = ops.pad(ops.cast(images, "float32"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    flat = ops.reshape(bordered, (-1, (height + 2) * (width + 2), channels))
    left, right, right_share = _neighbours(a * x + b * y + c + 1, width + 1)
    top, bottom, bottom_share = _neighbours(d * x + e * y + f + 1, height + 1)

    def pixels(row: Any, column: Any) -> Any:
        index = ops.reshape(row * (width + 2) + column, (-1, height * width, 1))
        return ops.reshape(ops.take_along_axis(flat, index, axis=1), (-1, height, width, channels))

    upper = pixels(top, left) * (1 - right_share) + pixels(top, right) * right_share
    lower = pixels(bottom, left) * (1 - right_share) + pixels(bottom, right) * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def _neighbours(position: Any, last: int) -> tuple[Any, Any, Any]:
    """The whole coordinates before and after positions (rows, height, width), within 0 to last, and the latter's share.

    The share has an axis for channels.
    """
    position = ops.clip(position, 0, last)
    before = ops.floor(position)
    share = ops.expand_dims(position - before, 3)
    before = ops.cast(before, "int32")
    return before, ops.minimum(before + 1, last), share
