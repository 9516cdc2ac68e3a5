"""Images that are nearly the same: moved, in another light, with a speck or a little noise.

An image is described by its low frequencies, turned so that its centre of mass is their origin and scaled to length
one: neither place nor light nor contrast count. Two are nearly the same if hardly anything is left between them, or if
they are much nearer to each other than either's surroundings are; plain strokes have close neighbours without being
copies.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

FREQUENCIES = 32  # of the lowest, each a complex number
AT_ONCE = 4_000  # images that are described
SURROUNDINGS = 10  # neighbours; the last one tells how dense it is there
NEARER = 1 / 3  # of the surroundings' distance
SAME = 0.02  # of the greatest distance, 2: less than any two of 70,000 handwritten digits


def digests(images: np.ndarray) -> list[str]:
    """A word for each image, the same for exact copies; images may be more than the memory holds."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest() for image in images]


def near_pairs(sets: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """The pairs of images that are nearly the same, the nearest first; exact copies are not told of.

    An image's number is its place in all sets behind each other.
    """
    from sklearn.neighbors import NearestNeighbors

    parts = [images[start : start + AT_ONCE] for images in sets for start in range(0, len(images), AT_ONCE)]
    words = [word for images in sets for word in digests(images)]
    _, unlike = np.unique(words, return_index=True)
    if len(unlike) <= SURROUNDINGS:
        return
    unlike.sort()
    described = np.concatenate([_described(part) for part in parts])[unlike]
    search = NearestNeighbors(n_neighbors=SURROUNDINGS + 1, algorithm="brute").fit(described)
    distances, neighbours = search.kneighbors(described)
    # Oneself is mostly, but among equals not always, the first.
    itself = neighbours == np.arange(len(unlike))[:, None]
    distances[itself] = np.inf
    order = distances.argsort(axis=1, kind="stable")
    nearest = np.take_along_axis(distances, order[:, :1], axis=1)[:, 0]
    around = np.take_along_axis(distances, order[:, SURROUNDINGS - 1 : SURROUNDINGS], axis=1)[:, 0]
    other = np.take_along_axis(neighbours, order[:, :1], axis=1)[:, 0]
    near = np.flatnonzero((nearest < NEARER * around) | (nearest < SAME))
    told = set()
    for one in near[np.argsort(nearest[near] / np.maximum(around[near], 1e-9), kind="stable")].tolist():
        pair = tuple(sorted((int(unlike[one]), int(unlike[other[one]]))))
        if pair not in told:
            told.add(pair)
            yield pair[0], pair[1]


def _described(images: np.ndarray) -> np.ndarray:
    """A row of real numbers for each image."""
    grey = images.mean(axis=-1, dtype=np.float32)
    grey -= np.median(grey, axis=(1, 2), keepdims=True)  # the paper's own brightness
    height, width = grey.shape[1:]
    mass = np.abs(grey) + 1e-6
    total = mass.sum(axis=(1, 2))
    down = mass.sum(axis=2) @ np.arange(height, dtype=np.float32) / total
    right = mass.sum(axis=1) @ np.arange(width, dtype=np.float32) / total
    y, x = (part.ravel() for part in np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij"))
    lowest = np.argsort(np.hypot(y, x), kind="stable")[1 : FREQUENCIES + 1]
    waves = np.fft.rfft2(grey).reshape(len(grey), -1)[:, lowest]
    waves *= np.exp(2j * np.pi * (down[:, None] * y[lowest] + right[:, None] * x[lowest]))
    found = np.concatenate([waves.real, waves.imag], axis=1).astype(np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
