"""Choose the augmentation that suits the training images: how strong it is, and which symmetries it uses.

Glyphs on a blank background keep the recipe's augmentation, which was tuned on such images. For others, small networks
that differ only in augmentation are trained on one part of a sample of the training images and predict the rest. The
recipe's augmentation is weakened if that clearly lowers the loss. Mirror images are used unless they raise it by a
tenth and by a standard error: a short training gains little from more images, but loses much more from mirrored glyphs
than from mirrored objects. Further symmetries are tried only where mirror images are used. They are used if they lower
the loss without other augmentation, which keeps small networks from learning them. A small network averages the views
that a long training would. Held-out rows have no part in it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from competition.data.augmentation import SYMMETRIES, Augmentation, Symmetry
from competition.models.interface import Images, Predictor
from competition.models.networks.border import shows_glyphs
from competition.models.networks.symmetries import detect_symmetries
from competition.scoring.losses import row_losses
from competition.scoring.temperature import EPSILON, apply_temperature, fit_temperature

STRENGTHS = (1.0, 0.5, 0.25, 0.0)
LARGEST_SIDE = 32  # pixels; larger images are reduced
MAX_TRAINING_ROWS, MAX_VALIDATION_ROWS = 6_000, 12_000
MIN_ROWS, MIN_SIDE = 300, 16  # of images that are compared; with fewer rows, the differences are noise

MIN_STEPS = 1_000  # of a training run; before shorter ones, comparing would take too long

CLEAR_DIFFERENCE = 2.0  # standard errors
# Of the loss with mirror images to that without; 1.4 to 1.5 for numerals, at most 1.02 for clothes and photographs of
# waste, see docs/experiments/training.md.
MAX_LOSS_RATIO = 1.1

Train = Callable[[Augmentation], Predictor]  # trains a small network, whose weights replace those of the last one


def compares_augmentations(images: Images, augmentation: Augmentation | None, steps: int) -> bool:
    """Whether small networks choose the augmentation for so many training steps on these images."""
    if not augmentation or (augmentation.symmetries is not None and augmentation.strength is not None):
        return False
    is_large = len(images) >= MIN_ROWS and min(images.shape[1:3]) >= MIN_SIDE
    return steps >= MIN_STEPS and is_large and not shows_glyphs(images)


def choose_augmentation(
    images: Images,
    labels: np.ndarray,
    augmentation: Augmentation,
    seed: int,
    make_train_function: Callable[[Images, np.ndarray], Train] | None,
) -> Augmentation:
    """Return the augmentation with its strength and symmetries chosen, unless they are given.

    `make_train_function` returns a function that trains a small network on these images and labels. Without it, the
    strength is that of the recipe, and the symmetries are detected by a linear model.
    """
    classes = labels if labels.ndim == 1 else np.unique(labels, axis=0, return_inverse=True)[1]
    if not make_train_function:
        if augmentation.symmetries is None:
            augmentation = replace(augmentation, symmetries=detect_symmetries(images, classes, seed))
        return augmentation if augmentation.strength is not None else replace(augmentation, strength=1.0)
    comparison = _Comparison(images, labels, seed, make_train_function)
    best = replace(augmentation, symmetries=augmentation.symmetries or ())
    if augmentation.strength is None:
        best = replace(best, strength=STRENGTHS[0])
        for strength in STRENGTHS[1:]:
            weaker = replace(best, strength=strength)
            best = weaker if comparison.difference(best, weaker) > CLEAR_DIFFERENCE else best
    if augmentation.symmetries is None:
        best = replace(best, symmetries=_choose_symmetries(comparison, best, images.shape))
    return best


def _choose_symmetries(
    comparison: "_Comparison", augmentation: Augmentation, shape: tuple[int, ...]
) -> tuple[Symmetry, ...]:
    """Return the symmetries that may be added to an augmentation that has none."""
    if comparison.raises_loss(replace(augmentation, symmetries=SYMMETRIES[:1]), augmentation):
        return ()
    chosen, alone = SYMMETRIES[:1], replace(augmentation, strength=0.0)
    for symmetry in SYMMETRIES[1:] if shape[1] == shape[2] else SYMMETRIES[1:2]:
        more = (*chosen, symmetry)
        difference = comparison.difference(*(replace(alone, symmetries=used) for used in (more, chosen)))
        chosen = more if difference < -1 else chosen
    return chosen


def describe_choice(augmentation: Augmentation) -> str:
    """Say how the augmentation differs from the recipe's; empty if it does not."""
    names = [name if name == "quarter turns" else f"{name} flips" for name in augmentation.symmetries or ()]
    parts = [f"augmented with {', '.join(names)}"] if names else []
    if augmentation.strength != 1:
        share = f"{augmentation.strength:.0%} of the" if augmentation.strength else "no"
        parts.append(f"{share} rotation, shift, zoom and shear")
    return "; ".join(parts)


class _Comparison:
    """Losses of small networks that are trained on one part of a sample, for each row of the other part."""

    def __init__(
        self, images: Images, labels: np.ndarray, seed: int, make_train_function: Callable[[Images, np.ndarray], Train]
    ) -> None:
        order = np.random.default_rng(seed).permutation(len(images))
        count = min(MAX_TRAINING_ROWS, len(images) * 2 // 3)
        training, validation = order[:count], order[count : count + MAX_VALIDATION_ROWS]
        self.validation = _reduce(images[validation]), labels[validation]
        self.train = make_train_function(_reduce(images[training]), labels[training])
        self._losses: dict[Augmentation, np.ndarray] = {}

    def difference(self, augmentation: Augmentation, other: Augmentation) -> float:
        """Loss of the first minus that of the other, in standard errors of the difference."""
        differences = self._loss(augmentation) - self._loss(other)
        standard_error = differences.std() / len(differences) ** 0.5
        return float(differences.mean() / standard_error) if standard_error else 0.0

    def raises_loss(self, augmentation: Augmentation, other: Augmentation) -> bool:
        """Whether the first has a loss that is higher than that of the other by a standard error and by a tenth."""
        ratio = self._loss(augmentation).mean() / max(self._loss(other).mean(), EPSILON)
        return self.difference(augmentation, other) > 1 and bool(ratio > MAX_LOSS_RATIO)

    def _loss(self, augmentation: Augmentation) -> np.ndarray:
        if augmentation not in self._losses:
            images, labels = self.validation
            try:
                predicted = self.train(augmentation).predict_proba(images)
            except FloatingPointError:  # the training diverged
                predicted = _guess(labels)
            self._losses[augmentation] = _log_loss(predicted, labels)
        return self._losses[augmentation]


def _guess(labels: np.ndarray) -> np.ndarray:
    """The same probability for all classes, or for having and not having a label."""
    if labels.ndim == 1:
        return np.full((len(labels), labels.max() + 1), 1 / (labels.max() + 1))
    return np.full(labels.shape, 0.5)


def _log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log loss of each row, of classes after temperature scaling; of label sets, the mean over labels."""
    if labels.ndim == 1:
        probabilities = apply_temperature(probabilities, fit_temperature(probabilities, labels))
    return row_losses(labels, probabilities)


def _reduce(images: np.ndarray) -> np.ndarray:
    """Reduce images by an integer factor to about LARGEST_SIDE."""
    factor = max(1, round(max(images.shape[1:3]) / LARGEST_SIDE))
    if factor == 1:
        return images
    rows, height, width, channels = images.shape
    height, width = height // factor, width // factor
    blocks = images[:, : height * factor, : width * factor].reshape(rows, height, factor, width, factor, channels)
    return blocks.mean(axis=(2, 4)).round().astype(np.uint8)
