"""Label-preserving changes of images, inside the training graph."""

from math import pi
from typing import Any

import keras
from keras import ops

from competition.data.augmentation import Symmetry, Warp


class RandomWarp(keras.layers.Layer):
    """Rotation, shift, zoom, shear and symmetries of each image, fused into one affine map and one interpolation."""

    def __init__(self, warp: Warp, seed: int) -> None:
        super().__init__(dtype="float32", name="warp")
        self.warp = warp
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Warp (rows, height, width, channels) in training, pass it on otherwise."""
        if not training:
            return images
        _, height, width, _ = images.shape
        angle, shift_x, shift_y, zoom_x, zoom_y, shear = ops.unstack(
            keras.random.uniform((6, ops.shape(images)[0]), -1, 1, seed=self.random), 6
        )
        angle = angle * (self.warp.rotation * pi / 180) + self._drawn("quarter turns", images, 4) * (pi / 2)
        zoom_x, zoom_y = 1 + zoom_x * self.warp.zoom, 1 + zoom_y * self.warp.zoom
        # Output pixel -> input pixel, about the centre: x' = a x + b y + c, y' = d x + e y + f.
        a, b = ops.cos(angle) * zoom_x, (shear * self.warp.shear - ops.sin(angle)) * zoom_x
        d, e = ops.sin(angle) * zoom_y, ops.cos(angle) * zoom_y
        mirror_x = 1 - 2 * self._drawn("left-right", images, 2)
        mirror_y = 1 - 2 * self._drawn("upside-down", images, 2)
        a, b, d, e = a * mirror_x, b * mirror_x, d * mirror_y, e * mirror_y
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        c = centre_x - a * centre_x - b * centre_y + shift_x * (self.warp.shift * width)
        f = centre_y - d * centre_x - e * centre_y + shift_y * (self.warp.shift * height)
        nothing = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, nothing, nothing], axis=1)
        return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="constant")

    def _drawn(self, symmetry: Symmetry, images: Any, kinds: int) -> Any:
        """For each image a number below `kinds`; nothing but 0, and nothing drawn, where the symmetry does not hold."""
        if symmetry not in (self.warp.symmetries or ()):
            return 0.0
        drawn = keras.random.randint((ops.shape(images)[0],), 0, kinds, seed=self.random)
        return ops.cast(drawn, "float32")
