"""What may spoil a competition, or a night spent on it, looked for before."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.data.duplicates import find_near_duplicates, image_digests
from competition.errors import shorten_list
from competition.models.member import Member
from competition.scoring.label_errors import find_label_errors
from competition.workers.machine import WORKER_MEMORY

DRIFT_ROWS = 4_000  # rows each of train and test, when they are told apart
SIGNIFICANCE = 0.01  # p-value
MAX_COMPARED_IMAGES = 150_000  # images, above which none is compared with all others
MAX_CLASS_RATIO = 10  # times as many rows in the largest class as in the smallest
MIN_CLASS_ROWS = 50  # rows of a class
MODEL_BYTES = 6e6  # bytes that a fold leaves on disk
REFERENCE_GFLOPS = 200.0  # GFLOP/s of the machine that the models' usual seconds are of
MAX_NEAR_DUPLICATES = 0.005  # near copies for each training row
MAX_LABEL_ERRORS = 0.01  # wrong labels for each training row


Group = tuple[int, ...]  # images that belong together, by their place among the training images and then the test ones


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    is_fine: bool
    message: str
    images: Sequence[Group] = ()  # the most telling first


@dataclass(frozen=True)
class Plan:
    """What is to be trained, and on what."""

    members: Sequence[Member]
    folds: int
    jobs: int
    peak: float  # GFLOP/s of a matrix product on one worker
    place: Path  # on the disk that is written to


def examine_dataset(dataset: Dataset, complete: Sequence[Predictions], plan: Plan) -> Iterator[Finding]:
    """Look at one thing after the other, the quick ones first; labels by those members that are complete already."""
    yield describe_shape(dataset)
    yield check_balance(dataset)
    yield check_blank_images(dataset)
    yield check_resources(dataset, plan)
    yield from check_duplicates(dataset)
    if complete:
        yield check_labels(dataset, complete)
    yield check_drift(dataset)
    yield from check_near_duplicates(dataset)


def image_name(dataset: Dataset, image: int) -> str:
    """What the files call an image."""
    train = len(dataset.train_ids)
    return str(dataset.train_ids[image]) if image < train else f"test {dataset.test_ids[image - train]}"


def describe_shape(dataset: Dataset) -> Finding:
    """What was inferred."""
    rows, height, width, channels = dataset.images.shape
    told = (
        f"{rows:,} and {len(dataset.test_ids):,} images of {height}x{width}x{channels}, {len(dataset.classes)} classes"
    )
    return Finding("shape", True, f"{told}: {shorten_list(dataset.classes, 12)}")


def check_balance(dataset: Dataset) -> Finding:
    """Whether some class has far fewer rows than another."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    told = f"from {counts[least]:,} rows of {dataset.classes[least]} to {counts[most]:,} of {dataset.classes[most]}"
    return Finding(
        "balance", bool(counts[least] >= MIN_CLASS_ROWS and counts[most] < MAX_CLASS_RATIO * counts[least]), told
    )


def check_blank_images(dataset: Dataset) -> Finding:
    """Images that show nothing."""
    empty = [
        _flatten(images).min(axis=1) == _flatten(images).max(axis=1) for images in (dataset.images, dataset.test_images)
    ]
    told = f"{empty[0].sum()} of the training and {empty[1].sum()} of the test images show nothing"
    shown = [(int(image),) for image in np.flatnonzero(np.concatenate(empty))]
    return Finding("blank images", not shown, told, shown)


def check_duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Exact copies: within train, of which some labelled otherwise, and of training images in test."""
    _, which = np.unique(image_digests(dataset.images) + image_digests(dataset.test_images), return_inverse=True)
    train, test = which[: len(dataset.labels)], which[len(dataset.labels) :]
    count = np.bincount(train, minlength=which.max() + 1)
    extremes = [np.full(len(count), fill) for fill in (len(dataset.classes), -1)]
    np.minimum.at(extremes[0], train, dataset.labels)
    np.maximum.at(extremes[1], train, dataset.labels)
    again, torn = count[train] > 1, (extremes[0] != extremes[1])[train]
    told = f"{again.sum()} training rows have a copy; folds hold copies out together, so that scores are not inflated"
    yield Finding("copies in train", True, told, _group_images(train, again))
    told = f"{torn.sum()} training rows have a copy with another label"
    yield Finding("torn labels", not torn.any(), told, _group_images(train, torn))
    known = count[test] > 0
    told = f"{known.sum()} test images are in train, too"
    in_both = np.isin(which, test[known])
    yield Finding("copies in test", not known.any(), told, _group_images(which, in_both))


def check_near_duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Images that are nearly the same, within train and across: folds do not hold those out together."""
    rows, images = len(dataset.labels), len(dataset.labels) + len(dataset.test_ids)
    if images > MAX_COMPARED_IMAGES:
        yield Finding("near copies", True, f"not looked for: each of {images:,} images with each takes hours")
        return
    pairs = list(find_near_duplicates([dataset.images, dataset.test_images]))
    within = [pair for pair in pairs if max(pair) < rows]
    across = [pair for pair in pairs if min(pair) < rows <= max(pair)]
    torn = [pair for pair in within if dataset.labels[pair[0]] != dataset.labels[pair[1]]]
    for what, found, told in (
        ("near copies in train", within, "pairs of training images are nearly the same; scores out of fold gain by it"),
        ("near copies in test", across, "test images are nearly the same as one in train"),
    ):
        yield Finding(what, len(found) < MAX_NEAR_DUPLICATES * rows, f"{len(found)} {told}", found)
    yield Finding("torn near copies", not torn, f"{len(torn)} such pairs have different labels", torn)


def check_labels(dataset: Dataset, complete: Sequence[Predictions]) -> Finding:
    """Labels that may be wrong, by what models say that did not see them."""
    stack = np.stack([member.oof for member in complete])
    blend = stack.mean(axis=0)
    suspects = np.flatnonzero(find_label_errors(dataset.labels, blend, stack.argmax(axis=2)))
    order = np.argsort(blend[suspects, dataset.labels[suspects]], kind="stable")
    names = ", ".join(member.member for member in complete)
    told = f"{len(suspects)} training rows have a label that none of {names} votes for"
    return Finding(
        "suspected labels",
        len(suspects) < MAX_LABEL_ERRORS * len(dataset.labels),
        told,
        [(int(row),) for row in suspects[order]],
    )


def check_drift(dataset: Dataset) -> Finding:
    """Whether a classifier can tell test images from training images: then scores out of fold promise too much."""
    from scipy.stats import binomtest
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier

    random = np.random.default_rng(0)
    count = min(DRIFT_ROWS, len(dataset.labels), len(dataset.test_ids))
    drawn = [random.permutation(len(images))[:count] for images in (dataset.images, dataset.test_images)]
    sets = zip((dataset.images, dataset.test_images), drawn, strict=True)
    pictures = np.concatenate([_flatten(images[np.sort(rows)]) for images, rows in sets]).astype(np.float32)
    is_test = np.repeat([False, True], count)
    mixed = random.permutation(2 * count)
    learned, asked = mixed[:count], mixed[count:]
    axes = PCA(min(30, *pictures[learned].shape), random_state=0).fit(pictures[learned])
    judge = HistGradientBoostingClassifier(random_state=0).fit(axes.transform(pictures[learned]), is_test[learned])
    right = int((judge.predict(axes.transform(pictures[asked])) == is_test[asked]).sum())
    p_value = float(binomtest(right, len(asked), alternative="greater").pvalue)
    told = f"a classifier tells test from train images in {right / len(asked):.1%} of cases, p = {p_value:.2g}"
    return Finding("drift", p_value > SIGNIFICANCE, told)


def check_resources(dataset: Dataset, plan: Plan) -> Finding:
    """Memory and disk against what is there, and the time by the speed of this machine."""
    memory, disk = psutil.virtual_memory().available, shutil.disk_usage(plan.place.resolve()).free
    folds, jobs = plan.folds, plan.jobs
    rows, *shape = dataset.images.shape
    share = 1 - 1 / folds  # that teaches
    held = max(member.training_memory(share * rows, tuple(shape)) for member in plan.members)
    asked = jobs * max(WORKER_MEMORY, held)
    predictions = 4 * len(dataset.classes) * (len(dataset.labels) + folds * len(dataset.test_ids))
    written = len(plan.members) * (predictions + folds * MODEL_BYTES)
    fold = sum(member.training_seconds(share * len(dataset.labels)) for member in plan.members)
    minutes = folds * fold / jobs / 60 * REFERENCE_GFLOPS / plan.peak
    room = (
        f"{asked / 1e9:.1f} of {memory / 1e9:.1f} GB free memory, {written / 1e9:.1f} of {disk / 1e9:.1f} GB free disk"
    )
    names = " ".join(member.name for member in plan.members)
    speed = f"of {plan.peak:.0f} GFLOP/s in matrix products"
    told = f"{room}; about {minutes:.0f} min for {names} with {jobs} workers {speed}"
    return Finding("needs", asked < memory and written < disk, told)


def findings_to_json(dataset: Dataset, found: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings for programs."""
    return [
        {
            "what": one.check,
            "is_fine": one.is_fine,
            "told": one.message,
            "rows": [[image_name(dataset, image) for image in group] for group in one.images],
        }
        for one in found
    ]


def _flatten(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images).reshape(len(images), -1)


def _group_images(which: np.ndarray, chosen: np.ndarray) -> list[Group]:
    """The chosen images, those of the same kind in one group."""
    groups: dict[int, list[int]] = {}
    for image in np.flatnonzero(chosen).tolist():
        groups.setdefault(int(which[image]), []).append(image)
    return [tuple(group) for group in groups.values()]
