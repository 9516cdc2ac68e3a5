"""The blank border of images, which networks cut away: uninformative pixels cost as much as any other."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from competition.models.interface import Images

SAMPLE_SIZE = 2_000
CHUNK_PIXELS = 500_000  # bounds memory
MAX_VARIANCE = 0.05  # of a blank row or column, relative to the average one
MAX_DARK_VALUE = 32  # mean of a dark border
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


def has_dark_border(images: Images) -> bool:
    """Whether the images are light glyphs on black: grey images with a dark blank border on all sides."""
    if images.shape[3] != 1 or not all(find_blank_border(images)):
        return False
    edges = np.concatenate([chunk[:, [0, -1]].ravel() for chunk in _chunks(images)])
    return float(edges.mean()) < MAX_DARK_VALUE


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
    moments = [(len(chunk), chunk.mean(axis=(0, other)), (chunk**2).mean(axis=(0, other))) for chunk in _chunks(images)]
    weights, means, squares = zip(*moments, strict=True)
    mean, square = (np.average(values, axis=0, weights=weights) for values in (means, squares))
    return np.asarray((square - mean**2).max(axis=1))  # over channels


def _chunks(images: Images) -> Iterator[np.ndarray]:
    """Yield a sample of the images in chunks, as floats."""
    rows = np.linspace(0, len(images) - 1, min(SAMPLE_SIZE, len(images))).astype(int)
    size = max(1, CHUNK_PIXELS // int(np.prod(images.shape[1:])))
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]].astype(np.float32)


def _count_blank_lines(variance: np.ndarray) -> tuple[int, int]:
    """Count the blank lines at both ends, given each line's variance; MIN_SIDE lines always remain."""
    used = np.flatnonzero(variance > MAX_VARIANCE * variance.mean())
    if not used.size:
        return 0, 0
    before, after = int(used[0]), len(variance) - 1 - int(used[-1])
    while len(variance) - before - after < MIN_SIDE and before + after:
        before, after = (before - 1, after) if before >= after else (before, after - 1)
    return before, after
