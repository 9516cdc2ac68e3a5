"""Dark glyphs on a light background are inverted before a model sees them.

Deskewing assumes a black background, and so does everything that fills pixels from beyond the edge of an image.
"""

from collections.abc import Iterator

import numpy as np

from competition.data.background import edge_brightness, find_background
from competition.models.interface import Images

SAMPLE_SIZE = 2_000
CHUNK_PIXELS = 500_000  # bounds memory


def find_white(images: Images) -> int | None:
    """Return the brightest value of grey images that have a light background, judged by a sample; None for others."""
    if images.shape[3] != 1:
        return None
    edges, maxima = zip(*((edge_brightness(chunk), int(chunk.max())) for chunk in sample_chunks(images)), strict=True)
    return max(maxima) if find_background(np.concatenate(edges), max(maxima)) == "light" else None


def invert(images: np.ndarray, white: int | None) -> np.ndarray:
    """Return the negatives of uint8 images, in which `white` becomes 0; the images themselves if it is None."""
    return images if white is None else np.maximum(images, np.uint8(white)) - images


def sample_chunks(images: Images) -> Iterator[np.ndarray]:
    """Yield a sample of the images in chunks."""
    rows = np.linspace(0, len(images) - 1, min(SAMPLE_SIZE, len(images))).astype(int)
    size = max(1, CHUNK_PIXELS // int(np.prod(images.shape[1:])))
    for start in range(0, len(rows), size):
        yield images[rows[start : start + size]]
