"""Limits of label-preserving augmentation, and the affine matrix of an augmentation."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Symmetry = Literal["left-right", "upside-down", "quarter turns"]
SYMMETRIES: tuple[Symmetry, ...] = get_args(Symmetry)


@dataclass(frozen=True)
class Augmentation:
    """The largest random change of a training image; the defaults keep a digit's label."""

    rotation: float = 12.0  # degrees; beyond about 15 a 1 can look like a 7
    shift: float = 0.09  # fraction of the side
    zoom: float = 0.15
    shear: float = 0.15
    symmetries: tuple[Symmetry, ...] | None = None  # each is applied to half of the images; None: detect them
    strength: float | None = None  # fraction of the limits above that is used; None: measure what suits the images

    def scaled(self) -> "Augmentation":
        """The same at full strength, with smaller limits."""
        strength = 1.0 if self.strength is None else self.strength
        limits = {name: strength * getattr(self, name) for name in LIMITS}
        return replace(self, **limits, strength=1.0)


LIMITS = ("rotation", "shift", "zoom", "shear")


def affine_matrix(
    rotation: tuple[Any, Any] = (1.0, 0.0), zoom: tuple[Any, Any] = (1.0, 1.0), shear: Any = 0.0
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Matrix from the (row, column) of an output pixel to that of its input pixel, both relative to the centre.

    The rotation is (cosine, sine); a zoom above 1 makes the image smaller. Arguments are numbers, NumPy arrays or Keras
    tensors.
    """
    (cosine, sine), (zoom_y, zoom_x) = rotation, zoom
    return (cosine * zoom_y, -sine * zoom_y), ((shear + sine) * zoom_x, cosine * zoom_x)
