"""Measure which image transforms preserve the label, by a model's predictions for rows that it was not trained on.

Augmenting with others creates wrong labels: rotated by 180 degrees a 6 is a 9, and a mirrored 2 resembles a 5.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from competition.data.augmentation import affine_matrix
from competition.errors import UserError
from competition.models.classical.augmented_copies import transform_image
from competition.models.interface import Images, Predictor
from competition.models.polarity import find_white, invert

Transform = Callable[[np.ndarray], np.ndarray]

MAX_CONFUSION = 0.05  # fraction of a class's rows that may be predicted as the same other class
MAX_P_VALUE = 0.01  # of the test whether the fraction is larger
MAX_ROWS = 2000  # rows that are transformed


@dataclass(frozen=True)
class TransformEffect:
    """Effect of a transform on rows that are predicted correctly without it."""

    transform: str
    accuracy: float
    from_class: int  # of all pairs of classes, the one that is confused most often
    to_class: int
    confusion: float  # fraction of the rows of `from_class` that are predicted as `to_class`
    is_label_preserving: bool  # whether that fraction is not significantly above MAX_CONFUSION


def _affine(matrix: Sequence[Sequence[float]], shift: float = 0.0) -> Transform:
    """Apply the matrix about the centre of each image, then shift down and to the right by a fraction of the side."""

    def transform(images: np.ndarray) -> np.ndarray:
        transformed = np.empty_like(images)
        for image, output in zip(images, transformed, strict=True):
            transform_image(image, output, np.array(matrix), -shift * np.array(image.shape[:2]))
        return transformed

    return transform


def rotation(degrees: float) -> Transform:
    """Rotate about the centre."""
    return _affine(affine_matrix(rotation=(np.cos(np.radians(degrees)), np.sin(np.radians(degrees)))))


def zoom(height: float, width: float) -> Transform:
    """Scale height and width about the centre."""
    return _affine(affine_matrix(zoom=(1 / height, 1 / width)))


def shear(fraction: float) -> Transform:
    """Shear about the centre."""
    return _affine(affine_matrix(shear=fraction))


def shift(fraction: float) -> Transform:
    """Shift down and to the right by a fraction of the side."""
    return _affine(affine_matrix(), fraction)


# The largest changes of a default Augmentation, and larger ones.
TRANSFORMS: dict[str, Transform] = {
    "rotated by 12 degrees": rotation(12),
    "rotated by -12 degrees": rotation(-12),
    "shifted by 9 %": shift(0.09),
    "shifted by -9 %": shift(-0.09),
    "enlarged by 15 %": zoom(1.15, 1.15),
    "reduced by 15 %": zoom(0.85, 0.85),
    "taller and narrower by 15 %": zoom(1.15, 0.85),
    "sheared by 15 %": shear(0.15),
    "sheared by -15 %": shear(-0.15),
    "rotated by 30 degrees": rotation(30),
    "rotated by 45 degrees": rotation(45),
    "rotated by 90 degrees": rotation(90),
    "rotated by 180 degrees": rotation(180),
    "flipped left-right": lambda images: images[:, :, ::-1],
    "flipped upside-down": lambda images: images[:, ::-1],
}


def measure_effects(model: Predictor, images: Images, labels: np.ndarray) -> Iterator[TransformEffect]:
    """Apply each transform to those of the first MAX_ROWS rows that the model predicts correctly.

    The transforms fill with black, so images with a light background are inverted before and after.
    """
    white = find_white(images)
    rows, labels = images[:MAX_ROWS], labels[:MAX_ROWS]
    is_correct = model.predict_proba(rows).argmax(axis=1) == labels
    if not is_correct.any():
        raise UserError(f"the model predicts none of {len(rows):,} held-out rows correctly; choose a better one")
    rows, labels = rows[is_correct], labels[is_correct]
    for name, transform in TRANSFORMS.items():
        transformed = invert(transform(invert(rows, white)), white)
        predicted = model.predict_proba(transformed).argmax(axis=1)
        counts = confusion_matrix(labels, predicted, labels=np.arange(max(labels.max(), predicted.max()) + 1))
        totals = np.maximum(counts.sum(axis=1), 1)
        np.fill_diagonal(counts, 0)
        true, other = (int(k) for k in np.unravel_index((counts / totals[:, None]).argmax(), counts.shape))
        count, total = int(counts[true, other]), int(totals[true])
        preserves = binomtest(count, total, MAX_CONFUSION, "greater").pvalue > MAX_P_VALUE
        accuracy = float((predicted == labels).mean())
        yield TransformEffect(name, accuracy, true, other, count / total, bool(preserves))
