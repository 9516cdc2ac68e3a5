"""Splits of the training rows into folds, made once and saved in a file."""

import hashlib
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.dataset import Dataset
from competition.data.duplicates import image_digests
from competition.data.targets import target_kind
from competition.errors import UserError, move_away, option
from competition.files import atomic_file

RARE_IMAGES = 2  # of classes that are rare by nature, such as individual animals, if there are many such classes
MIN_RARE_CLASSES, RARE_SHARE = 3, 0.1  # rare classes are many from this number, and this share of all classes, on
NUMBER_STRATA = 10  # quantile bins of numbers
ALL_ROWS = "all-rows"  # the folder of models that are trained on all rows
NEVER = -1  # instead of a fold, for rows that are never held out


@dataclass(frozen=True)
class Folds:
    """The fold that holds out each training row, in Dataset order."""

    held_out: np.ndarray  # (train rows,) fold numbers, 0 to count - 1; NEVER in training on all rows
    count: int
    seed: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the split's folder."""
        return ALL_ROWS if self.uses_all_rows else _name(self.count, self.seed)

    @property
    def uses_all_rows(self) -> bool:
        """Whether no row is held out."""
        return bool((self.held_out == NEVER).all())

    @property
    def training_rows(self) -> float:
        """The mean number of rows that a fold trains on."""
        return len(self.held_out) * (1.0 if self.uses_all_rows else 1 - 1 / self.count)


def all_rows(dataset: Dataset, count: int) -> Folds:
    """The folds of `count` models that are all trained on all rows, each with its own random stream."""
    held_out = np.full(len(dataset.train_ids), NEVER, dtype=np.int32)
    return Folds(held_out, count, 0, _digest(dataset.train_ids, held_out))


def load_or_make_folds(dataset: Dataset, folder: Path, count: int, seed: int) -> Folds:
    """Load the split saved in `folder`, or make and save it if there is none for this number of folds and seed."""
    path = folder / _name(count, seed) / "split.csv"
    if not path.exists():
        folds = make_folds(dataset, count, seed)
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(f"# split {folds.digest} of data {dataset.digest}\n")
            table = pd.DataFrame({"id": dataset.train_ids, "fold": folds.held_out})
            table.to_csv(file, index=False, lineterminator="\n")
        return folds
    return _load(dataset, path, count, seed)


def require_folds(count: int) -> None:
    """Raise `UserError` if there are too few folds to train on all but one."""
    if count < 2:
        raise UserError(f"{option('folds', count)} leaves nothing to train on; use {option('folds', 2)} or more")


def make_folds(dataset: Dataset, count: int, seed: int) -> Folds:
    """Make stratified folds; identical images are held out together, and so are groups."""
    require_folds(count)
    _, first, image = np.unique(image_digests(dataset.images), return_index=True, return_inverse=True)
    is_class = target_kind(dataset.labels) == "class"
    if is_class:
        _check_classes(dataset, first, count)
    if len(first) < count:
        raise UserError(f"{len(first)} distinct images are too few for {option('folds', count)}; add images")
    strata = stratify(dataset.labels[first], count)
    # Distinct images are split in the order of their first row, so that the split depends on the rows alone.
    order = np.argsort(first)
    fold_of_image = np.empty(len(first), dtype=np.int32)
    groups = _groups(dataset, image)
    if (n_groups := len(np.unique(groups))) < count:
        if n_groups == 1:
            raise UserError("all rows are in one group, so they cannot be split; check `group` in competition.toml")
        remedy = f"use at most {option('folds', n_groups)}"
        raise UserError(f"{n_groups} groups are too few for {option('folds', count)}; {remedy}")
    for fold, held_out_images in enumerate(_split(strata[order], groups[order], count, seed)):
        fold_of_image[order[held_out_images]] = fold
    held_out = fold_of_image[image]
    frequent = np.flatnonzero(np.bincount(dataset.labels) >= count) if is_class else np.empty(0)
    for fold in range(count):
        if len(missing := np.setdiff1d(frequent, dataset.labels[held_out != fold])):
            name = dataset.classes[missing[0]]
            remedy = "try fewer folds or, if groups do not matter, set group = false in competition.toml"
            raise UserError(
                f"class {name} has too few groups or distinct images: fold {fold} holds out all of them; {remedy}"
            )
    return Folds(held_out, count, seed, _digest(dataset.train_ids, held_out))


def _check_classes(dataset: Dataset, first: np.ndarray, count: int) -> None:
    """Raise UserError if a class has fewer distinct images than there are folds, unless many classes are rare."""
    counts = np.bincount(dataset.labels[first], minlength=len(dataset.classes))
    rarest = counts.argmin()
    is_rare = counts <= RARE_IMAGES
    has_many_rare = is_rare.sum() >= MIN_RARE_CLASSES and is_rare.mean() >= RARE_SHARE and counts.max() >= count
    if (images := int(counts[rarest])) < count and not has_many_rare:
        remedy = f"use at most {option('folds', images)}" if images > 1 else "add images of this class or remove it"
        name = dataset.classes[rarest]
        shown = f"{images} distinct image{'s' * (images != 1)}"
        raise UserError(f"class {name} has only {shown}, too few for {option('folds', count)}; {remedy}")


def stratify(labels: np.ndarray, count: int) -> np.ndarray:
    """The stratum of each row: its class, its set of labels or the quantile of its number.

    Sets with fewer than `count` rows are merged with those that have the same rarest label.
    """
    match target_kind(labels):
        case "class":
            return labels
        case "number":
            quantiles = min(NUMBER_STRATA, max(1, len(labels) // count))
            edges = np.quantile(labels, np.linspace(0, 1, quantiles + 1)[1:-1])
            return _merge_rare(np.searchsorted(np.unique(edges), labels), count)
        case "labels":
            _, sets, rows = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
            frequencies = np.where(labels == 1, labels.sum(axis=0), len(labels) + 1)
            rarest = np.where(labels.any(axis=1), frequencies.argmin(axis=1), labels.shape[1])
            return _merge_rare(np.where(rows[sets] < count, len(rows) + rarest, sets), count)


def _merge_rare(strata: np.ndarray, count: int) -> np.ndarray:
    """Merge the strata with fewer than `count` rows; if these are too few together, with the smallest other stratum."""
    _, strata, rows = np.unique(strata, return_inverse=True, return_counts=True)
    is_rare = rows < count
    if 0 < rows[is_rare].sum() < count and not is_rare.all():
        is_rare[np.where(is_rare, len(strata), rows).argmin()] = True
    return np.where(is_rare[strata], len(rows), strata)


def _groups(dataset: Dataset, image: np.ndarray) -> np.ndarray:
    """Return the group of each distinct image; groups that share an image are merged."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group = np.unique(dataset.groups, return_inverse=True)
    images, groups = image.max() + 1, group.max() + 1
    links = coo_array((np.ones(len(image), dtype=bool), (image, images + group)), shape=(images + groups,) * 2)
    return connected_components(links, directed=False)[1][:images]


def _split(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the indices that each fold holds out."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(np.unique(groups)) == len(groups):
        splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    else:
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # where many classes are rare
        yield from (held_out for _, held_out in splits)


def _load(dataset: Dataset, path: Path, count: int, seed: int) -> Folds:
    """Load a saved split by row id; raise if it belongs to different data or was modified."""
    remedy = f"make a new split: {move_away(path.parent)}"
    # Damaged bytes are replaced here and detected by the checks below.
    with path.open(encoding="utf-8", errors="replace") as file:
        stamp = file.readline().split()
    if len(stamp) != 6 or stamp[5] != dataset.digest:
        raise UserError(f"{path} belongs to different data; restore the data, or {remedy}")
    try:
        table = pd.read_csv(path, skiprows=1, dtype={"id": str, "fold": np.int32}, keep_default_na=False)
        held_out = table.set_index("id")["fold"].loc[dataset.train_ids.astype(str)].to_numpy()
        is_intact = len(table) == len(held_out) and stamp[2] == _digest(dataset.train_ids, held_out)
    except (ValueError, KeyError, OverflowError):  # not a table of these rows
        is_intact = False
    if not is_intact:
        remove = shlex.join(["rm", str(path)])
        raise UserError(f"{path} was modified or is damaged; make the same split again: {remove}; or {remedy}")
    return Folds(held_out, count, seed, stamp[2])


def _name(count: int, seed: int) -> str:
    return f"{count}-folds-seed-{seed}"


def _digest(ids: np.ndarray, held_out: np.ndarray) -> str:
    """Digest the fold of each row."""
    rows = "\n".join(f"{row},{int(fold)}" for row, fold in zip(ids, held_out, strict=True))
    return hashlib.sha256(rows.encode()).hexdigest()
