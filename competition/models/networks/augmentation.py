"""Label-preserving image augmentation as a Keras layer."""

from math import pi
from typing import Any

import keras
from keras import ops

from competition.data.augmentation import LIMITS, SYMMETRIES, Augmentation, affine_matrix
from competition.models.networks.affine import transform_images


class RandomAugmentation(keras.layers.Layer):
    """Random rotation, shift, zoom, shear and symmetries, combined into one affine map and one interpolation."""

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        super().__init__(dtype="float32", name="augmentation")
        self.limits: dict[str, Any] = _limits(augmentation)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Augment images (rows, height, width, channels) in training; return them unchanged otherwise."""
        if not training:
            return images
        limits = self._current_limits()
        _, height, width, _ = images.shape
        angle, shift_x, shift_y, zoom_x, zoom_y, shear = ops.unstack(
            keras.random.uniform((6, ops.shape(images)[0]), -1, 1, seed=self.seed_generator), 6
        )
        quarter_turns = self._draw(limits["quarter turns"], images, 4)
        angle = angle * (limits["rotation"] * pi / 180) + quarter_turns * (pi / 2)
        mirror_x = 1 - 2 * self._draw(limits["left-right"], images, 2)
        mirror_y = 1 - 2 * self._draw(limits["upside-down"], images, 2)
        (e, d), (b, a) = affine_matrix(
            rotation=(ops.cos(angle), -ops.sin(angle)),
            zoom=((1 + zoom_y * limits["zoom"]) * mirror_y, (1 + zoom_x * limits["zoom"]) * mirror_x),
            shear=shear * limits["shear"],
        )
        # Keras maps output pixels to input pixels by x' = a x + b y + c, y' = d x + e y + f.
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        c = centre_x - a * centre_x - b * centre_y + shift_x * (limits["shift"] * width)
        f = centre_y - d * centre_x - e * centre_y + shift_y * (limits["shift"] * height)
        zeros = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, zeros, zeros], axis=1)
        return transform_images(images, transform)

    def _current_limits(self) -> dict[str, Any]:
        return self.limits

    def _draw(self, share: Any, images: Any, count: int) -> Any:
        """Draw an integer below `count` for each image, times the share; 0, without drawing, for a share of 0.0."""
        if isinstance(share, float) and not share:
            return 0.0
        integers = keras.random.randint((ops.shape(images)[0],), 0, count, seed=self.seed_generator)
        return ops.cast(integers, "float32") * share


class AdjustableAugmentation(RandomAugmentation):
    """Random augmentation whose limits and symmetries can be changed without compiling the network again."""

    def __init__(self, seed: int) -> None:
        super().__init__(Augmentation(), seed)  # which only names the limits
        self.values = self.add_weight((len(self.limits),), "zeros", trainable=False)

    def adjust(self, augmentation: Augmentation) -> None:
        """Augment by these limits from now on."""
        self.values.assign(list(_limits(augmentation).values()))

    def _current_limits(self) -> dict[str, Any]:
        return dict(zip(self.limits, ops.unstack(ops.convert_to_tensor(self.values), len(self.limits)), strict=True))


def _limits(augmentation: Augmentation) -> dict[str, float]:
    """The largest changes, and 1 for each symmetry that is enabled, 0 for the others."""
    scaled, enabled = augmentation.scaled(), augmentation.symmetries or ()
    changes = {name: float(getattr(scaled, name)) for name in LIMITS}
    return changes | {symmetry: float(symmetry in enabled) for symmetry in SYMMETRIES}
