"""Dark signs on a light background are inverted before a model sees them.

Deskewing and everything that fills what an image does not show assume a black background.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from competition.data.background import edge_brightness, find_background
from competition.models.interface import Images

WHITE = 255
SAMPLE_SIZE = 2_000
CHUNK_PIXELS = 500_000  # bounds memory


def has_light_background(images: Images) -> bool:
    """Whether the images are grey and nearly all of them have a light edge, judged by a sample."""
    if images.shape[3] != 1:
        return False
    edges, brightest = zip(*((edge_brightness(chunk), chunk.max()) for chunk in sample_chunks(images)), strict=True)
    return find_background(np.concatenate(edges), max(brightest)) == "light"


def invert(images: Any) -> Any:
    """Return the negatives of images: NumPy arrays or tensors."""
    return WHITE - images


def sample_chunks(images: Images) -> Iterator[np.ndarray]:
    """Yield a sample of the images in chunks."""
    rows = np.linspace(0, len(images) - 1, min(SAMPLE_SIZE, len(images))).astype(int)
    size = max(1, CHUNK_PIXELS // int(np.prod(images.shape[1:])))
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]]
