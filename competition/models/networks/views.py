"""Test-time augmentation: the views of an image, whose logits a network averages.

They are shifted by a pixel, and mirrored or turned where the network was trained on mirrored or turned images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from competition.data.augmentation import Symmetry

MAX_VIEWS = 10  # of an image with symmetries; if shifts would make more, they are left out


@dataclass(frozen=True)
class View:
    """A view of an image: turned by quarters, then mirrored left to right, then shifted by pixels."""

    quarter_turns: int = 0
    mirrored: bool = False
    down: int = 0
    right: int = 0


def choose_views(shifts: Sequence[tuple[int, int]], symmetries: Sequence[Symmetry]) -> tuple[View, ...]:
    """Return all combinations of shifts and symmetries, the unchanged image first."""
    transforms = _symmetric_transforms(symmetries)
    if len(transforms) > 1 and len(transforms) * len(shifts) > MAX_VIEWS:
        shifts = shifts[:1]
    return tuple(View(*transform, *shift) for transform in transforms for shift in shifts)


def apply_view(images: Any, view: View) -> Any:
    """Return this view of images (rows, height, width, channels), by layers that Keras can save and load."""
    if view.quarter_turns % 2:
        images = ops.transpose(images, (0, 2, 1, 3))
    if view.quarter_turns in (1, 2):
        images = ops.flip(images, axis=1)  # one axis at a time: Keras 3.8 cannot flip two
    if (view.quarter_turns in (2, 3)) != view.mirrored:
        images = ops.flip(images, axis=2)
    return _shift(images, view.down, view.right) if view.down or view.right else images


def _symmetric_transforms(symmetries: Sequence[Symmetry]) -> list[tuple[int, bool]]:
    """All pairs of quarter turns and mirroring that the symmetries generate; the identity comes first."""
    transforms = {(0, False)}
    if "left-right" in symmetries:
        transforms |= {(turns, not mirrored) for turns, mirrored in transforms}
    if "upside-down" in symmetries:  # mirrored left to right and turned by half
        transforms |= {((turns + 2) % 4, not mirrored) for turns, mirrored in transforms}
    if "quarter turns" in symmetries:
        transforms = {(turns, mirrored) for turns in range(4) for _, mirrored in transforms}
    return sorted(transforms)


def _shift(images: Any, down: int, right: int) -> Any:
    """Shift images by a number of pixels, filling with zeros."""
    before, after = ((max(down, 0), max(right, 0)), (max(-down, 0), max(-right, 0)))
    padded = layers.ZeroPadding2D(tuple(zip(before, after, strict=True)), dtype="uint8")(images)
    return layers.Cropping2D(tuple(zip(after, before, strict=True)), dtype="uint8")(padded)
