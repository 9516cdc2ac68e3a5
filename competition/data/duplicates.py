"""Find near-duplicate images: shifted, brighter or darker, with a speck or a little noise.

An image is described by its low frequencies, with the phase shifted so that its centre of mass is the origin, and
normalized to length 1; so position, brightness and contrast do not matter. Two images are near-duplicates if their
descriptors almost coincide, or if they are much closer than the other neighbours of either. The second rule is
relative because simple strokes have close neighbours that are not duplicates.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

FREQUENCIES = 32  # the lowest ones, each a complex number
BATCH = 4_000  # images described at a time
NEIGHBOURS = 10  # the distance of the last one measures the local density
RELATIVE_DISTANCE = 1 / 3  # of the distance of the last neighbour
ABSOLUTE_DISTANCE = 0.02  # of at most 2; less than between any two of 70,000 handwritten digits


def image_digests(images: np.ndarray) -> list[str]:
    """A digest of each image, equal for exact duplicates; reads one image at a time, so `images` may be mapped."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest() for image in images]


def find_near_duplicates(sets: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of near-duplicates, the closest first, without exact duplicates.

    An image is identified by its index in the concatenation of all sets.
    """
    from sklearn.neighbors import NearestNeighbors

    batches = [images[start : start + BATCH] for images in sets for start in range(0, len(images), BATCH)]
    digests = [digest for images in sets for digest in image_digests(images)]
    _, distinct = np.unique(digests, return_index=True)
    if len(distinct) <= NEIGHBOURS:
        return
    distinct.sort()
    descriptors = np.concatenate([_describe(batch) for batch in batches])[distinct]
    distances, neighbours = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(descriptors).kneighbors()
    nearest, last, partner = distances[:, 0], distances[:, -1], neighbours[:, 0]
    near = np.flatnonzero((nearest < RELATIVE_DISTANCE * last) | (nearest < ABSOLUTE_DISTANCE))
    seen = set()
    for index in near[np.argsort(nearest[near] / np.maximum(last[near], 1e-9), kind="stable")].tolist():
        pair = tuple(sorted((int(distinct[index]), int(distinct[partner[index]]))))
        if pair not in seen:
            seen.add(pair)
            yield pair[0], pair[1]


def _describe(images: np.ndarray) -> np.ndarray:
    """The descriptors (rows, 2 * FREQUENCIES) of the images."""
    grey = images.mean(axis=-1, dtype=np.float32)
    grey -= np.median(grey, axis=(1, 2), keepdims=True)  # the brightness of the background
    height, width = grey.shape[1:]
    mass = np.abs(grey) + 1e-6
    total = mass.sum(axis=(1, 2))
    row = mass.sum(axis=2) @ np.arange(height, dtype=np.float32) / total
    column = mass.sum(axis=1) @ np.arange(width, dtype=np.float32) / total
    y, x = (part.ravel() for part in np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij"))
    lowest = np.argsort(np.hypot(y, x), kind="stable")[1 : FREQUENCIES + 1]
    spectrum = np.fft.rfft2(grey).reshape(len(grey), -1)[:, lowest]
    spectrum *= np.exp(2j * np.pi * (row[:, None] * y[lowest] + column[:, None] * x[lowest]))
    descriptors = np.concatenate([spectrum.real, spectrum.imag], axis=1).astype(np.float32)
    return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
