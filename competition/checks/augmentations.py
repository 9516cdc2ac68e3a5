"""Which changes of an image change its class, found out on rows that the asked model was not trained on.

A change is safe to train with where the classes survive it. Turned by 180 degrees a 6 is a 9, flipped a 2 nears a 5:
training with such changes would teach that the two are one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform
from scipy.stats import binomtest

from competition.models.interface import Images, Predictor

Transform = Callable[[np.ndarray], np.ndarray]

MAX_CONFUSION = (
    0.05  # more than this share of a class's rows taken for one other class: the change makes that class of it
)
MAX_ROWS = 2000  # rows, at most, that are looked at


@dataclass(frozen=True)
class TransformEffect:
    """What a change does to the rows that were right without it."""

    transform: str
    still_correct: float  # share
    from_class: int  # the class that suffers most from one other class ...
    to_class: int  # ... which is this one
    share: float  # of the former's rows
    is_label_preserving: bool  # unless that share is beyond what is harmful, and beyond noise


def _affine(matrix: list[list[float]]) -> Transform:
    return lambda images: _apply_affine(images, np.array(matrix), np.zeros(2))


def _apply_affine(images: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each output pixel from matrix (pixel - centre) + centre + shift of the image, black beyond its edge."""
    centre = (np.array(images.shape[1:3]) - 1) / 2
    whole = np.eye(4)
    whole[1:3, 1:3] = matrix
    offset = np.zeros(4)
    offset[1:3] = centre + shift - matrix @ centre
    return affine_transform(images, whole, offset, order=1)


def rotation(degrees: float) -> Transform:
    """A rotation about the centre."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return _affine([[cosine, -sine], [sine, cosine]])


def zoom(height: float, width: float) -> Transform:
    """A zoom of each direction about the centre."""
    return _affine([[1 / height, 0], [0, 1 / width]])


def shear(share: float) -> Transform:
    """A slant."""
    return _affine([[1, 0], [share, 1]])


def shift(share: float) -> Transform:
    """A shift down and to the right, by a share of the side."""
    return lambda images: _apply_affine(images, np.eye(2), -share * np.array(images.shape[1:3]))


# The ends of the ranges that a Warp has by default, and what lies beyond them.
TRANSFORMS: dict[str, Transform] = {
    "turned by 12 degrees": rotation(12),
    "turned back by 12 degrees": rotation(-12),
    "shifted by 9 %": shift(0.09),
    "shifted back by 9 %": shift(-0.09),
    "larger by 15 %": zoom(1.15, 1.15),
    "smaller by 15 %": zoom(0.85, 0.85),
    "taller and narrower by 15 %": zoom(1.15, 0.85),
    "sheared by 15 %": shear(0.15),
    "sheared back by 15 %": shear(-0.15),
    "turned by 30 degrees": rotation(30),
    "turned by 45 degrees": rotation(45),
    "turned by 90 degrees": rotation(90),
    "turned by 180 degrees": rotation(180),
    "flipped left to right": lambda images: images[:, :, ::-1],
    "flipped upside down": lambda images: images[:, ::-1],
}


def measure_effects(model: Predictor, images: Images, labels: np.ndarray) -> Iterator[TransformEffect]:
    """What each change does to the rows that the model gets right as they are; at most EXAMPLES of them."""
    shown, labels = images[:MAX_ROWS], labels[:MAX_ROWS]
    right = model.predict_proba(shown).argmax(axis=1) == labels
    shown, labels = shown[right], labels[right]
    for name, change in TRANSFORMS.items():
        taken_for = model.predict_proba(change(shown)).argmax(axis=1)
        k = max(labels.max(), taken_for.max()) + 1
        counts = np.bincount(labels * k + taken_for, minlength=k * k).reshape(k, k)
        rows = np.maximum(counts.sum(axis=1), 1)
        np.fill_diagonal(counts, 0)
        worst, into = np.unravel_index((counts / rows[:, None]).argmax(), counts.shape)
        hurt, of = int(counts[worst, into]), int(rows[worst])
        is_safe = binomtest(hurt, of, MAX_CONFUSION, "greater").pvalue > 0.01
        still_correct = float((taken_for == labels).mean())
        yield TransformEffect(name, still_correct, int(worst), int(into), hurt / of, bool(is_safe))
