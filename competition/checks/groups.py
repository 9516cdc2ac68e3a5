"""Measure how much a score would be inflated if folds split groups, such as the images of a patient.

The label of each image is guessed from its most similar image, once among all others of a sample and once among those
of other groups. Similar images of a group share their label for reasons that do not hold for new groups.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.data.dataset import Dataset
from competition.data.targets import target_kind
from competition.models.classical.features import RandomizedPCA
from competition.scoring.standard_error import Score

MAX_ROWS = 4_000  # sampled; a group contributes at most half of them
COMPONENTS = 60  # of the pixels, which are compared


@dataclass(frozen=True)
class GroupEffect:
    """The share of labels that are guessed right."""

    split: Score  # the most similar image may be of the same group
    grouped: Score  # it is of another group
    optimism: Score  # their difference; its standard error counts groups


def measure_group_effect(dataset: Dataset, seed: int = 0) -> GroupEffect | None:
    """Guess labels with and without the other images of their group; None where there are no groups or only numbers."""
    rows = _sample_groups(dataset.groups, seed)
    groups, labels = dataset.groups[rows], dataset.labels[rows]
    if len(np.unique(groups)) in (1, len(groups)) or target_kind(dataset.labels) == "number":
        return None
    pixels = dataset.images[rows].reshape(len(rows), -1).astype(np.float32)
    features = RandomizedPCA(COMPONENTS, seed).fit(pixels).transform(pixels)
    features /= np.maximum(features.std(axis=0), 1e-6)
    distances = np.square(features).sum(axis=1) - 2 * features @ features.T
    np.fill_diagonal(distances, np.inf)
    split = _agreement(labels, distances.argmin(axis=1))
    distances[groups[:, None] == groups] = np.inf
    grouped = _agreement(labels, distances.argmin(axis=1))
    return GroupEffect(*(Score.from_rows(rows, groups) for rows in (split, grouped, split - grouped)))


def _sample_groups(groups: np.ndarray, seed: int) -> np.ndarray:
    """At most MAX_ROWS rows, of randomly chosen groups."""
    names, index = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    sizes = np.minimum(np.bincount(index), MAX_ROWS // 2)[order]
    chosen = order[: np.searchsorted(np.cumsum(sizes), MAX_ROWS, side="right")]
    rows = rng.permutation(np.flatnonzero(np.isin(index, chosen)))
    number_within_group = pd.Series(rows).groupby(index[rows]).cumcount()
    return np.sort(rows[number_within_group < MAX_ROWS // 2])


def _agreement(labels: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The share of each row's labels that its nearest image has as well."""
    equal = labels == labels[nearest]
    return equal.astype(float) if equal.ndim == 1 else equal.mean(axis=1)
