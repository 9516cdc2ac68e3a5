"""Slightly changed copies of images, for models that do not see their rows changed anew in every epoch."""

import numpy as np
from scipy.ndimage import affine_transform


def changed(images: np.ndarray, random: np.random.Generator, rotation: float, zoom: float) -> np.ndarray:
    """Each image turned by up to so many degrees and stretched in each direction by up to that share, at random."""
    angles = np.radians(random.uniform(-rotation, rotation, len(images)))
    stretches = 1 + random.uniform(-zoom, zoom, (len(images), 2))
    centre = (np.array(images.shape[1:3]) - 1) / 2
    copies = np.empty_like(images)
    for row, (image, angle, stretch) in enumerate(zip(images, angles, stretches, strict=True)):
        matrix = np.eye(3)  # channels stay apart
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[:2, :2] = np.array(turn) * stretch[:, None]
        offset = np.append(centre - matrix[:2, :2] @ centre, 0)
        affine_transform(image, matrix, offset, output=copies[row], order=1)
    return copies
