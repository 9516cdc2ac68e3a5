"""How far images may be changed in training without changing their class."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    pass

Symmetry = Literal["left-right", "upside-down", "quarter turns"]
SYMMETRIES: tuple[Symmetry, ...] = get_args(Symmetry)


@dataclass(frozen=True)
class Warp:
    """The largest random change of an image in each respect; no digit becomes another one within these."""

    rotation: float = 12.0  # degrees; beyond about 15 the classes 1 and 7 meet
    shift: float = 0.09  # of the side
    zoom: float = 0.15
    shear: float = 0.15
    symmetries: tuple[Symmetry, ...] | None = None  # each holds for every other image; None: what the images say
