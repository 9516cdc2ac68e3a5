"""Label-preserving image augmentation as a Keras layer."""

from math import pi
from typing import Any

import keras
from keras import ops

from competition.data.augmentation import Augmentation, Symmetry, affine_matrix
from competition.models.networks.affine import transform_images


class RandomAugmentation(keras.layers.Layer):
    """Random rotation, shift, zoom, shear and symmetries, combined into one affine map and one interpolation."""

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        super().__init__(dtype="float32", name="augmentation")
        self.augmentation = augmentation.scaled()
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Augment images (rows, height, width, channels) in training; return them unchanged otherwise."""
        if not training:
            return images
        limits = self.augmentation
        _, height, width, _ = images.shape
        angle, shift_x, shift_y, zoom_x, zoom_y, shear = ops.unstack(
            keras.random.uniform((6, ops.shape(images)[0]), -1, 1, seed=self.seed_generator), 6
        )
        quarter_turns = self._draw("quarter turns", images, 4)
        angle = angle * (limits.rotation * pi / 180) + quarter_turns * (pi / 2)
        mirror_x = 1 - 2 * self._draw("left-right", images, 2)
        mirror_y = 1 - 2 * self._draw("upside-down", images, 2)
        (e, d), (b, a) = affine_matrix(
            rotation=(ops.cos(angle), -ops.sin(angle)),
            zoom=((1 + zoom_y * limits.zoom) * mirror_y, (1 + zoom_x * limits.zoom) * mirror_x),
            shear=shear * limits.shear,
        )
        # Keras maps output pixels to input pixels by x' = a x + b y + c, y' = d x + e y + f.
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        c = centre_x - a * centre_x - b * centre_y + shift_x * (limits.shift * width)
        f = centre_y - d * centre_x - e * centre_y + shift_y * (limits.shift * height)
        zeros = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, zeros, zeros], axis=1)
        return transform_images(images, transform)

    def _draw(self, symmetry: Symmetry, images: Any, count: int) -> Any:
        """Draw an integer below `count` for each image; 0, without drawing, if the symmetry is not enabled."""
        if symmetry not in (self.augmentation.symmetries or ()):
            return 0.0
        integers = keras.random.randint((ops.shape(images)[0],), 0, count, seed=self.seed_generator)
        return ops.cast(integers, "float32")
