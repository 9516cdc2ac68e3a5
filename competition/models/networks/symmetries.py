"""Which mirror images and turns of an image are of the same class: asked of the images that a network learns from.

A linear model of the directions of edges learns from one half of a draw of them and is asked about the other, and the
other way round. If more are right where it learned from mirror images too, they are worth training with. Where that
confuses classes, as it does digits and letters, fewer are.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from competition.data.augmentation import SYMMETRIES, Symmetry
from competition.models.classical.features import Hog
from competition.models.interface import Images

DRAWN = 4_000  # images at most
PROVED = 0.05  # the probability of as much by chance: what passes so and does not help does not harm either
FEW = 4  # images of a class, below which it is left out: half of them have to vary
LEAST = 100  # images, below which nothing is proved anyway

COPIES: dict[Symmetry, list[Callable[[np.ndarray], np.ndarray]]] = {
    "left-right": [lambda images: images[:, :, ::-1]],
    "upside-down": [lambda images: images[:, ::-1]],
    "quarter turns": [partial(np.rot90, k=turns, axes=(1, 2)) for turns in (1, 2, 3)],
}


def found(images: Images, labels: np.ndarray, seed: int) -> tuple[Symmetry, ...]:
    """The symmetries that help to tell the classes apart, and harm none."""
    drawn = np.random.default_rng(seed).permutation(len(images))[:DRAWN]
    drawn = drawn[np.bincount(labels[drawn])[labels[drawn]] >= FEW]
    if len(drawn) < LEAST or len(np.unique(labels[drawn])) < 2:
        return ()
    drawn = drawn[np.argsort(labels[drawn], kind="stable")]  # so that each class is halved
    square = images.shape[1] == images.shape[2]
    grey, labels = images[drawn].mean(axis=3, dtype=np.float32) / 255, labels[drawn]
    edges = Hog(cells=(4, 2), directions=8)  # coarse, since the change is too
    plain = edges.transform(grey)
    right = _right([plain], labels)
    helping = []
    for symmetry in SYMMETRIES if square else SYMMETRIES[:2]:
        copies = [edges.transform(copy(grey)) for copy in COPIES[symmetry]]
        if _helps(right, _right([plain, *copies], labels), labels):
            helping.append(symmetry)
    return tuple(helping)


def _right(views: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Which rows, as they are, a model gets right that learned from all views of the other half."""
    right = np.empty(len(labels), dtype=bool)
    for half in (np.arange(len(labels)) % 2 == which for which in range(2)):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        model.fit(np.concatenate([view[~half] for view in views]), np.tile(labels[~half], len(views)))
        right[half] = model.predict(views[0][half]) == labels[half]
    return right


def _helps(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> bool:
    """Whether more rows are right than before, and in no class fewer, beyond chance."""
    classes = np.unique(labels)
    gained, lost = after & ~before, before & ~after
    if _by_chance(gained.sum(), lost.sum()) >= PROVED:
        return False
    return all(
        _by_chance(lost[labels == one].sum(), gained[labels == one].sum()) >= PROVED / len(classes) for one in classes
    )


def _by_chance(more: int, fewer: int) -> float:
    """The probability of at least so many more, were both as likely."""
    return float(binomtest(int(more), int(more + fewer), alternative="greater").pvalue) if more else 1.0
