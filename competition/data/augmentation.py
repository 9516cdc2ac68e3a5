"""Limits of label-preserving augmentation."""

from dataclasses import dataclass
from typing import Literal, get_args

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
