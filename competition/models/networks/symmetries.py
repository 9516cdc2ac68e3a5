"""Detection of label-preserving symmetries (mirror images and quarter turns) in the training images.

A linear classifier of oriented gradients is cross-validated on two halves of a sample, with and without transformed
copies of its training images. A symmetry is used if the copies significantly increase accuracy. Where they confuse
classes, as with digits and letters, accuracy drops.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from competition.data.augmentation import SYMMETRIES, Symmetry
from competition.models.classical.features import Hog
from competition.models.interface import Images

SAMPLE_SIZE = 4_000
SIGNIFICANCE_LEVEL = 0.05  # a symmetry that is accepted by chance is neither useful nor harmful
MIN_IMAGES_PER_CLASS = 4  # smaller classes are left out: each half needs images that differ
MIN_IMAGES = 100  # with fewer, nothing would be significant

TRANSFORMS: dict[Symmetry, list[Callable[[np.ndarray], np.ndarray]]] = {
    "left-right": [lambda images: images[:, :, ::-1]],
    "upside-down": [lambda images: images[:, ::-1]],
    "quarter turns": [partial(np.rot90, k=turns, axes=(1, 2)) for turns in (1, 2, 3)],
}


def detect_symmetries(images: Images, labels: np.ndarray, seed: int) -> tuple[Symmetry, ...]:
    """Return the symmetries that improve overall accuracy and reduce it in no class."""
    sample = np.random.default_rng(seed).permutation(len(images))[:SAMPLE_SIZE]
    sample = sample[np.bincount(labels[sample])[labels[sample]] >= MIN_IMAGES_PER_CLASS]
    if len(sample) < MIN_IMAGES or len(np.unique(labels[sample])) < 2:
        return ()
    sample = sample[np.argsort(labels[sample], kind="stable")]  # so that alternating rows split each class in half
    is_square = images.shape[1] == images.shape[2]
    grey, labels = images[sample].mean(axis=3, dtype=np.float32) / 255, labels[sample]
    hog = Hog(cells=(4, 2), orientations=8)  # coarse, since the transforms are coarse too
    features = hog.transform(grey)
    baseline = _correct_rows([features], labels)
    detected = []
    for symmetry in SYMMETRIES if is_square else SYMMETRIES[:2]:
        copies = [hog.transform(transform(grey)) for transform in TRANSFORMS[symmetry]]
        if _is_improvement(baseline, _correct_rows([features, *copies], labels), labels):
            detected.append(symmetry)
    return tuple(detected)


def _correct_rows(views: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Whether each row of the first view is predicted correctly by a model trained on all views of the other half."""
    correct = np.empty(len(labels), dtype=bool)
    for half in (np.arange(len(labels)) % 2 == parity for parity in range(2)):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        model.fit(np.concatenate([view[~half] for view in views]), np.tile(labels[~half], len(views)))
        correct[half] = model.predict(views[0][half]) == labels[half]
    return correct


def _is_improvement(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> bool:
    """Whether significantly more rows are correct than before, and in no class significantly fewer."""
    classes = np.unique(labels)
    corrected, newly_wrong = after & ~before, before & ~after
    if _sign_test(corrected.sum(), newly_wrong.sum()) >= SIGNIFICANCE_LEVEL:
        return False
    return all(
        _sign_test(newly_wrong[labels == label].sum(), corrected[labels == label].sum())
        >= SIGNIFICANCE_LEVEL / len(classes)
        for label in classes
    )


def _sign_test(more: int, fewer: int) -> float:
    """One-sided p-value of the sign test: at least `more` of the differences, if both directions were as likely."""
    return float(binomtest(int(more), int(more + fewer), alternative="greater").pvalue) if more else 1.0
