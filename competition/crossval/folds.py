"""One split of the training rows into folds, made once and frozen in a file."""

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.dataset import Dataset
from competition.data.duplicates import digests
from competition.errors import Problem
from competition.files import whole


@dataclass(frozen=True)
class Folds:
    """Which fold holds out which training row, in Dataset order."""

    held_out: np.ndarray  # (train rows,) numbers from 0 to count - 1
    count: int
    seed: int
    digest: str

    @property
    def name(self) -> str:
        """The split's folder."""
        return _name(self.count, self.seed)


def frozen(dataset: Dataset, folder: Path, count: int, seed: int) -> Folds:
    """The split that lies under `folder`, made there if this number of folds and seed are new."""
    path = folder / _name(count, seed) / "split.csv"
    if not path.exists():
        folds = split(dataset, count, seed)
        with whole(path) as temporary, temporary.open("w") as file:
            file.write(f"# split {folds.digest} of data {dataset.digest}\n")
            table = pd.DataFrame({"id": dataset.train_ids, "fold": folds.held_out})
            table.to_csv(file, index=False, lineterminator="\n")
        return folds
    return _read(dataset, path, count, seed)


def split(dataset: Dataset, count: int, seed: int) -> Folds:
    """Stratified folds in which exact duplicates of an image are held out together, and so are groups."""
    if count < 2:
        raise Problem(f"{count} folds leave nothing to train on; FOLDS=2 is the least")
    _, first, image = np.unique(digests(dataset.images), return_index=True, return_inverse=True)
    fewest = np.bincount(dataset.labels[first], minlength=len(dataset.classes)).argmin()
    if (members := int((dataset.labels[first] == fewest).sum())) < count:
        most = f"FOLDS={members} is the most" if members > 1 else "add images of it, or leave it out"
        name = dataset.classes[fewest]
        raise Problem(f"class {name} has {members} different images, too few for FOLDS={count}; {most}")
    # Distinct images are dealt out in the order of their first row, so that the split follows from the rows alone.
    order = np.argsort(first)
    fold_of_image = np.empty(len(first), dtype=np.int32)
    groups = _groups(dataset, image)
    if (number := len(np.unique(groups))) < count:
        raise Problem(f"{number} groups are too few for FOLDS={count}; FOLDS={number} is the most")
    for fold, dealt in enumerate(_dealt(dataset.labels[first[order]], groups[order], count, seed)):
        fold_of_image[order[dealt]] = fold
    held_out = fold_of_image[image]
    for fold in range(count):
        if len(untaught := np.setdiff1d(dataset.labels, dataset.labels[held_out != fold])):
            name = dataset.classes[untaught[0]]
            raise Problem(f"class {name} has too few groups: fold {fold} holds all of them out; try fewer FOLDS")
    return Folds(held_out, count, seed, _digest(dataset.train_ids, held_out))


def _groups(dataset: Dataset, image: np.ndarray) -> np.ndarray:
    """The group of each distinct image; groups that share an image are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group = np.unique(dataset.groups, return_inverse=True)
    images, groups = image.max() + 1, group.max() + 1
    links = coo_array((np.ones(len(image), dtype=bool), (image, images + group)), shape=(images + groups,) * 2)
    return connected_components(links, directed=False)[1][:images]


def _dealt(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """What each fold holds out."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(np.unique(groups)) == len(groups):
        parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    else:
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups)
    return (dealt for _, dealt in parts)


def _read(dataset: Dataset, path: Path, count: int, seed: int) -> Folds:
    """The frozen split, by row id; a split of other rows or one changed by hand is refused."""
    aside = shlex.join(["mv", str(path.parent), f"{path.parent}.old"])
    # Whatever a damaged byte becomes, it is read, and then found to be no part of the split.
    with path.open(encoding="utf-8", errors="replace") as file:
        stamp = file.readline().split()
    if len(stamp) != 6 or stamp[5] != dataset.digest:
        raise Problem(f"{path} splits other data than lies there now; put the data back, or make a new split: {aside}")
    try:
        table = pd.read_csv(path, skiprows=1, dtype={"id": str, "fold": np.int32}, keep_default_na=False)
        held_out = table.set_index("id")["fold"].loc[dataset.train_ids.astype(str)].to_numpy()
        is_whole = len(table) == len(held_out) and stamp[2] == _digest(dataset.train_ids, held_out)
    except (ValueError, KeyError, OverflowError):  # it is no table of these rows any more
        is_whole = False
    if not is_whole:
        again = shlex.join(["rm", str(path)])
        raise Problem(
            f"{path} was changed after it was made; deal the rows again: {again}; or make a new split: {aside}"
        )
    return Folds(held_out, count, seed, stamp[2])


def _name(count: int, seed: int) -> str:
    return f"{count}-folds-seed-{seed}"


def _digest(ids: np.ndarray, held_out: np.ndarray) -> str:
    """Changes when any row changes its fold."""
    rows = "\n".join(f"{row},{int(fold)}" for row, fold in zip(ids, held_out, strict=True))
    return hashlib.sha256(rows.encode()).hexdigest()
