"""Checks of a competition's data and of this machine, to run before training."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from scipy.stats import binomtest
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier

from competition.checks.groups import measure_group_effect
from competition.checks.machine_speed import REFERENCE_GFLOPS
from competition.crossval.predictions import Predictions
from competition.crossval.task import input_shape
from competition.data.dataset import Dataset
from competition.data.duplicates import find_near_duplicates, image_digests
from competition.data.targets import target_kind
from competition.errors import shorten_list
from competition.models.member import Member
from competition.scoring.label_errors import find_label_errors
from competition.scoring.standard_error import format_percent
from competition.workers.machine import WORKER_MEMORY

WARN_CLASS_ROWS = 50
MAX_CLASS_RATIO = 10  # rows of the largest class divided by those of the smallest
MAX_LABEL_ERRORS = 0.01  # fraction of training rows
MAX_NEAR_DUPLICATES = 0.005  # fraction of training rows
MAX_COMPARED_IMAGES = 150_000  # near-duplicates are not searched among more images
SHIFT_ROWS = 4_000  # sample size from each of train and test
MIN_SHIFT_P_VALUE = 0.01
MODEL_BYTES = 6e6  # size of a fold's saved model


Group = tuple[int, ...]  # related images, as indices into the training images followed by the test images


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    passed: bool
    message: str
    images: Sequence[Group] = ()  # most conspicuous first


@dataclass(frozen=True)
class Plan:
    """The planned training and the machine that it runs on."""

    members: Sequence[Member]
    folds: int
    jobs: int
    gflops: float  # GFLOP/s of a matrix product on one worker
    folder: Path  # predictions and models are written to its disk
    extraction_seconds: float = 0.0  # of pretrained features, with one worker on the reference machine


def run_checks(dataset: Dataset, complete: Sequence[Predictions], plan: Plan) -> Iterator[Finding]:
    """Run all checks, quick ones first; labels are checked by the predictions of the complete members."""
    yield describe_shape(dataset)
    if (kind := target_kind(dataset.labels)) != "number":
        yield check_balance(dataset)
    yield check_blank_images(dataset)
    yield check_resources(dataset, plan)
    if len(np.unique(dataset.groups)) < len(dataset.groups):
        yield check_groups(dataset)
    yield from check_duplicates(dataset)
    if complete and kind == "class":
        yield check_labels(dataset, complete)
    if len(dataset.test_ids):
        yield check_distribution_shift(dataset)
    yield from check_near_duplicates(dataset)


def image_name(dataset: Dataset, image: int) -> str:
    """The id of an image, preceded by "test" for test images."""
    train = len(dataset.train_ids)
    return str(dataset.train_ids[image]) if image < train else f"test {dataset.test_ids[image - train]}"


def describe_shape(dataset: Dataset) -> Finding:
    """Number and shape of the images, and the classes, as inferred from the files."""
    names = shorten_list(dataset.classes, 12)
    classes = {
        "class": f"{len(dataset.classes)} classes: {names}",
        "labels": f"{len(dataset.classes)} labels, several may apply: {names}",
        "number": f"a number: {names}",
    }[target_kind(dataset.labels)]
    return Finding("shape", True, f"{dataset.summary}, {classes}")


def check_balance(dataset: Dataset) -> Finding:
    """Check that no class or label is rare."""
    if target_kind(dataset.labels) == "labels":
        rows = dataset.labels.sum(axis=0)
        rarest, most = int(rows.argmin()), int(rows.argmax())
        smallest, largest = (f"{dataset.classes[index]} with {rows[index]:,} rows" for index in (rarest, most))
        message = f"the rarest label is {smallest}, the most frequent {largest}"
        return Finding("balance", bool(rows[rarest] >= WARN_CLASS_ROWS), message)
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    rare, frequent = int(counts.argmin()), int(counts.argmax())
    passed = counts[rare] >= WARN_CLASS_ROWS and counts[frequent] < MAX_CLASS_RATIO * counts[rare]
    if counts[rare] == counts[frequent]:
        return Finding("balance", bool(passed), f"each class has {counts[rare]:,} rows")
    smallest, largest = (f"{dataset.classes[index]} with {counts[index]:,} rows" for index in (rare, frequent))
    return Finding("balance", bool(passed), f"the smallest class is {smallest}, the largest {largest}")


def check_blank_images(dataset: Dataset) -> Finding:
    """Find constant (blank) images."""
    train, test = (np.ptp(_flatten(images), axis=1) == 0 for images in (dataset.images, dataset.test_images))
    blank = [(int(image),) for image in np.flatnonzero(np.concatenate([train, test]))]
    return Finding(
        "blank images", not blank, f"{train.sum()} training and {test.sum()} test images are constant (blank)", blank
    )


def check_groups(dataset: Dataset) -> Finding:
    """Measure how much folds that split groups would inflate the score; folds never split them."""
    effect = measure_group_effect(dataset)
    if effect is None:
        return Finding("groups", True, "no group is split between folds; the effect was not measured")
    split, grouped, optimism = (format_percent(score) for score in (effect.split, effect.grouped, effect.optimism))
    message = (
        f"no group is split between folds; splitting them would inflate the accuracy by {optimism}: the most similar "
        f"image has the same label for {split} of the images, and for {grouped} if it must be of another group"
    )
    return Finding("groups", True, message)


def check_duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Find exact duplicates within train, those with different labels, and those between train and test."""
    _, duplicate_ids = np.unique(
        image_digests(dataset.images) + image_digests(dataset.test_images), return_inverse=True
    )
    train, test = np.split(duplicate_ids, [len(dataset.labels)])
    labels = pd.Series(_label_codes(dataset.labels)).groupby(train)
    has_duplicate = labels.transform("size").to_numpy() > 1
    is_conflicting = labels.transform("nunique").to_numpy() > 1
    is_in_train = np.isin(test, train)
    message = f"{has_duplicate.sum()} training rows have a duplicate; duplicates are kept in the same fold"
    yield Finding("duplicates in train", True, message, _group_images(train, has_duplicate))
    message = f"{is_conflicting.sum()} training rows have a duplicate with another label"
    yield Finding("conflicting labels", not is_conflicting.any(), message, _group_images(train, is_conflicting))
    message = f"{is_in_train.sum()} test images are also in train"
    in_both = _group_images(duplicate_ids, np.isin(duplicate_ids, test[is_in_train]))
    yield Finding("duplicates in test", not is_in_train.any(), message, in_both)


def check_near_duplicates(dataset: Dataset) -> Iterator[Finding]:
    """Find near-duplicates within train, between train and test, and with different labels."""
    rows, images = len(dataset.labels), len(dataset.labels) + len(dataset.test_ids)
    if images > MAX_COMPARED_IMAGES:
        yield Finding("near-duplicates", True, f"not searched; comparing {images:,} images would take hours")
        return
    pairs = list(find_near_duplicates([dataset.images, dataset.test_images]))
    within = [pair for pair in pairs if max(pair) < rows]
    between = [pair for pair in pairs if min(pair) < rows <= max(pair)]
    codes = _label_codes(dataset.labels)
    conflicting = [pair for pair in within if codes[pair[0]] != codes[pair[1]]]
    limit = MAX_NEAR_DUPLICATES * rows
    message = f"{len(within)} pairs of training images; folds may separate them, which inflates scores"
    yield Finding("near-duplicates in train", len(within) < limit, message, within)
    message = f"{len(between)} pairs of a training and a test image"
    yield Finding("near-duplicates in test", len(between) < limit, message, between)
    message = f"{len(conflicting)} pairs of training images with different labels"
    if target_kind(dataset.labels) != "number":  # numbers always differ a little
        yield Finding("conflicting near-duplicates", not conflicting, message, conflicting)


def check_labels(dataset: Dataset, complete: Sequence[Predictions]) -> Finding:
    """Find labels that may be wrong, by out-of-fold predictions."""
    stack = np.stack([member.oof for member in complete])
    blend = stack.mean(axis=0)
    suspects = np.flatnonzero(find_label_errors(dataset.labels, blend, stack.argmax(axis=2)))
    order = np.argsort(blend[suspects, dataset.labels[suspects]], kind="stable")
    passed = len(suspects) < MAX_LABEL_ERRORS * len(dataset.labels)
    names = ", ".join(member.member for member in complete)
    message = (
        f"{len(suspects)} training rows have a label that none of {names} predicts and that they consider unlikely"
    )
    return Finding("suspected label errors", passed, message, [(int(row),) for row in suspects[order]])


def check_distribution_shift(dataset: Dataset) -> Finding:
    """Adversarial validation: a classifier that separates test from training images reveals a distribution shift.

    Out-of-fold scores are then optimistic.
    """
    random = np.random.default_rng(0)
    rows = min(SHIFT_ROWS, len(dataset.labels), len(dataset.test_ids))
    sources = dataset.images, dataset.test_images
    samples = [random.permutation(len(images))[:rows] for images in sources]
    sampled = [_flatten(images[np.sort(sample)]) for images, sample in zip(sources, samples, strict=True)]
    pixels = np.concatenate(sampled).astype(np.float32)
    is_test = np.repeat([False, True], rows)
    train, held_out = np.split(random.permutation(2 * rows), 2)
    pca = PCA(min(30, *pixels[train].shape), random_state=0).fit(pixels[train])
    classifier = HistGradientBoostingClassifier(random_state=0).fit(pca.transform(pixels[train]), is_test[train])
    correct = int((classifier.predict(pca.transform(pixels[held_out])) == is_test[held_out]).sum())
    p_value = float(binomtest(correct, rows, alternative="greater").pvalue)
    message = f"adversarial validation separates train from test with {correct / rows:.1%} accuracy, p = {p_value:.2g}"
    return Finding("train-test distribution shift", p_value > MIN_SHIFT_P_VALUE, message)


def check_resources(dataset: Dataset, plan: Plan) -> Finding:
    """Compare the memory and disk that training needs with what is free, and estimate its duration."""
    free_memory, free_disk = psutil.virtual_memory().available, shutil.disk_usage(plan.folder.resolve()).free
    training_fraction = 1 - 1 / plan.folds
    rows = training_fraction * len(dataset.images)
    largest = max(member.training_memory(rows, input_shape(member, dataset)) for member in plan.members)
    memory = plan.jobs * max(WORKER_MEMORY, largest)
    predictions = 4 * len(dataset.classes) * (len(dataset.labels) + plan.folds * len(dataset.test_ids))
    disk = len(plan.members) * (predictions + plan.folds * MODEL_BYTES)
    fold_seconds = sum(member.training_seconds(rows, dataset.images.shape[1:]) for member in plan.members)
    seconds = plan.folds * fold_seconds + plan.extraction_seconds
    minutes, extraction = (
        each / plan.jobs / 60 * REFERENCE_GFLOPS / plan.gflops for each in (seconds, plan.extraction_seconds)
    )
    part = f", of which {extraction:.0f} min to extract features" if extraction >= 1 else ""
    names = " ".join(member.name for member in plan.members)
    message = (
        f"needs {memory / 1e9:.1f} GB of memory ({free_memory / 1e9:.1f} GB free) and {disk / 1e9:.1f} GB of disk "
        f"({free_disk / 1e9:.1f} GB free); about {minutes:.0f} min for {names}{part} "
        f"(workers: {plan.jobs}, {plan.gflops:.0f} GFLOP/s each)"
    )
    return Finding("resources", memory < free_memory and disk < free_disk, message)


def findings_to_json(dataset: Dataset, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON values, with the ids of the images."""
    return [
        {
            "check": finding.check,
            "passed": finding.passed,
            "message": finding.message,
            "rows": [[image_name(dataset, image) for image in group] for group in finding.images],
        }
        for finding in findings
    ]


def _label_codes(labels: np.ndarray) -> np.ndarray:
    """An integer for each row, equal where the labels are."""
    return np.unique(labels, axis=0, return_inverse=True)[1]


def _flatten(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images).reshape(len(images), int(np.prod(images.shape[1:])))


def _group_images(duplicate_ids: np.ndarray, chosen: np.ndarray) -> list[Group]:
    """The chosen images, grouped by equal duplicate ids."""
    images = np.flatnonzero(chosen)
    return [tuple(group.tolist()) for _, group in pd.Series(images).groupby(duplicate_ids[images], sort=False)]
