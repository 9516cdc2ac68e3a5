"""The background of images: dark, light, or none that they have in common."""

from typing import Literal

import numpy as np

MIN_SHARE = 0.95  # of the images, whose edges are dark (or light)

Background = Literal["dark", "light"]


def edge_brightness(images: np.ndarray) -> np.ndarray:
    """Return the median brightness of the edge pixels of each image (rows, height, width, channels)."""
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    return np.asarray(np.median(edges.mean(axis=2), axis=1))


def find_background(edges: np.ndarray, brightest: float) -> Background | None:
    """Return the background of images, given the brightness of their edges and that of the brightest pixel of all."""
    dark_share = (edges <= brightest / 2).mean()
    if dark_share >= MIN_SHARE:
        return "dark"
    return "light" if dark_share <= 1 - MIN_SHARE else None
