"""What may spoil a competition, or a night spent on it, looked for before."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from competition.data import Dataset
from competition.models import Member

SAMPLE = 4_000  # rows each of train and test, when they are told apart
NEWS = 0.01  # p-value
UNEVEN = 10  # times as many rows in the largest class as in the smallest
FEW = 50  # rows of a class
WORKER = 1.5e9  # bytes that a worker may take
MODEL = 6e6  # bytes that a fold leaves on disk
USUAL_ROWS = 42_000  # of which all folds of a model take five times its usual seconds
EXAMPLES = 5  # rows told of each kind


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_fine: bool
    told: str
    rows: list[str] = field(default_factory=list)  # ids, of train rows unless it says otherwise


def examine(dataset: Dataset, members: Sequence[Member], folds: int, jobs: int, place: Path) -> Iterator[Finding]:
    """Look at one thing after the other, the quick ones first."""
    yield shape(dataset)
    yield balance(dataset)
    yield blank(dataset)
    yield from copies(dataset)
    yield drift(dataset)
    yield needs(dataset, members, folds, jobs, place)


def shape(dataset: Dataset) -> Finding:
    """What was inferred."""
    rows, height, width, channels = dataset.images.shape
    names = ", ".join(map(str, dataset.classes[:12])) + (" ..." if len(dataset.classes) > 12 else "")
    told = (
        f"{rows:,} and {len(dataset.test_ids):,} images of {height}x{width}x{channels}, {len(dataset.classes)} classes"
    )
    return Finding("shape", True, f"{told}: {names}")


def balance(dataset: Dataset) -> Finding:
    """Whether some class has far fewer rows than another."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    told = f"from {counts[least]:,} rows of {dataset.classes[least]} to {counts[most]:,} of {dataset.classes[most]}"
    return Finding("balance", bool(counts[least] >= FEW and counts[most] < UNEVEN * counts[least]), told)


def blank(dataset: Dataset) -> Finding:
    """Images that show nothing."""
    empty = [_flat(images).min(axis=1) == _flat(images).max(axis=1) for images in (dataset.images, dataset.test_images)]
    told = f"{empty[0].sum()} of the training and {empty[1].sum()} of the test images show nothing"
    return Finding("blank images", not any(each.any() for each in empty), told, _named(dataset.train_ids[empty[0]]))


def copies(dataset: Dataset) -> Iterator[Finding]:
    """Exact copies: within train, of which some labelled otherwise, and of training images in test."""
    pictures = np.concatenate([_flat(dataset.images), _flat(dataset.test_images)])
    _, which = np.unique(pictures.view(f"V{pictures.shape[1]}").ravel(), return_inverse=True)
    train, test = which[: len(dataset.labels)], which[len(dataset.labels) :]
    shown = np.bincount(train, minlength=which.max() + 1)
    labels = [np.full(len(shown), fill) for fill in (len(dataset.classes), -1)]
    np.minimum.at(labels[0], train, dataset.labels)
    np.maximum.at(labels[1], train, dataset.labels)
    again, torn = shown[train] > 1, (labels[0] != labels[1])[train]
    told = f"{again.sum()} training rows have a copy; folds hold copies out together, so that no score gains by it"
    yield Finding("copies in train", True, told, _named(dataset.train_ids[again]))
    told = f"{torn.sum()} training rows have a copy with another label"
    yield Finding("torn labels", not torn.any(), told, _named(dataset.train_ids[torn]))
    known = shown[test] > 0
    told = f"{known.sum()} test images are in train, too"
    yield Finding(
        "copies in test", not known.any(), told, [f"test {name}" for name in dataset.test_ids[known][:EXAMPLES]]
    )


def drift(dataset: Dataset) -> Finding:
    """Whether a classifier can tell test images from training images: then scores out of fold promise too much."""
    from scipy.stats import binomtest
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(0)
    count = min(SAMPLE, len(dataset.labels), len(dataset.test_ids))
    drawn = [random.permutation(len(images))[:count] for images in (dataset.images, dataset.test_images)]
    sets = zip((dataset.images, dataset.test_images), drawn, strict=True)
    pictures = np.concatenate([_flat(images[np.sort(rows)]) for images, rows in sets]).astype(np.float32)
    is_test = np.repeat([False, True], count)
    mixed = random.permutation(2 * count)
    learned, asked = mixed[:count], mixed[count:]
    axes = PCA(min(30, *pictures[learned].shape), random_state=0).fit(pictures[learned])
    judge = HistGradientBoostingClassifier(random_state=0).fit(axes.transform(pictures[learned]), is_test[learned])
    right = int((judge.predict(axes.transform(pictures[asked])) == is_test[asked]).sum())
    p_value = float(binomtest(right, len(asked), alternative="greater").pvalue)
    told = f"a classifier tells test from train images in {right / len(asked):.1%} of cases, p = {p_value:.2g}"
    return Finding("drift", p_value > NEWS, told)


def needs(dataset: Dataset, members: Sequence[Member], folds: int, jobs: int, place: Path) -> Finding:
    """Memory and disk against what is there, and the time on a machine of usual speed."""
    memory, disk = psutil.virtual_memory().available, shutil.disk_usage(place.resolve()).free
    asked = jobs * WORKER + 2 * dataset.images.nbytes
    predictions = 4 * len(dataset.classes) * (len(dataset.labels) + folds * len(dataset.test_ids))
    written = len(members) * (predictions + folds * MODEL)
    share = len(dataset.labels) * (1 - 1 / folds) * folds / (0.8 * USUAL_ROWS)
    minutes = sum(member.spec.seconds for member in members) * share / jobs / 60
    room = (
        f"{asked / 1e9:.1f} of {memory / 1e9:.1f} GB free memory, {written / 1e9:.1f} of {disk / 1e9:.1f} GB free disk"
    )
    names = " ".join(member.name for member in members)
    told = f"{room}; about {minutes:.0f} min for {names} with {jobs} workers of usual speed"
    return Finding("needs", asked < memory and written < disk, told)


def _flat(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images).reshape(len(images), -1)


def _named(ids: np.ndarray) -> list[str]:
    return [str(name) for name in ids[:EXAMPLES]]
