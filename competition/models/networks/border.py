"""The blank border of images, which networks cut away: uninformative pixels cost as much as any other."""

from typing import NamedTuple

import numpy as np

from competition.models.interface import Images
from competition.models.polarity import find_white, invert, sample_chunks

MAX_VARIANCE = 0.05  # of a blank row or column, relative to the average one
MAX_DARK_VALUE = 32  # mean of a black border, inverted if it is white
MIN_SIDE = 8  # pixels that remain


class Border(NamedTuple):
    """Numbers of rows and columns that are blank in nearly all images."""

    top: int
    bottom: int
    left: int
    right: int


def find_blank_border(images: Images) -> Border:
    """Return the rows and columns at the edges that hardly vary, neither within an image nor between images."""
    top, bottom = _count_blank_lines(_line_variance(images, 0))
    left, right = _count_blank_lines(_line_variance(images, 1))
    return Border(top, bottom, left, right)


def shows_glyphs(images: Images) -> bool:
    """Whether the images are grey and have a blank border on all sides, which is black or white."""
    if images.shape[3] != 1 or not all(find_blank_border(images)):
        return False
    edges = np.concatenate([chunk[:, [0, -1]].ravel() for chunk in sample_chunks(images)])
    return float(invert(edges, find_white(images)).mean()) < MAX_DARK_VALUE


def respect_symmetries(border: Border, symmetries: tuple[str, ...]) -> Border:
    """Return a border that is symmetric where images are mirrored or turned before it is cut away."""
    top, bottom, left, right = border
    if "quarter turns" in symmetries:
        return Border(*[min(border)] * 4)
    if "upside-down" in symmetries:
        top = bottom = min(top, bottom)
    if "left-right" in symmetries:
        left = right = min(left, right)
    return Border(top, bottom, left, right)


def _line_variance(images: Images, axis: int) -> np.ndarray:
    """Variance of the pixels of each row (axis 0) or column (axis 1) in a sample of the images."""
    other = 2 if axis == 0 else 1
    chunks = (chunk.astype(np.float32) for chunk in sample_chunks(images))
    moments = [(len(chunk), chunk.mean(axis=(0, other)), (chunk**2).mean(axis=(0, other))) for chunk in chunks]
    weights, means, squares = zip(*moments, strict=True)
    mean, square = (np.average(values, axis=0, weights=weights) for values in (means, squares))
    return np.asarray((square - mean**2).max(axis=1))  # over channels


def _count_blank_lines(variance: np.ndarray) -> tuple[int, int]:
    """Count the blank lines at both ends, given each line's variance; MIN_SIDE lines always remain."""
    used = np.flatnonzero(variance > MAX_VARIANCE * variance.mean())
    if not used.size:
        return 0, 0
    before, after = int(used[0]), len(variance) - 1 - int(used[-1])
    while len(variance) - before - after < MIN_SIDE and before + after:
        before, after = (before - 1, after) if before >= after else (before, after - 1)
    return before, after
