"""Find the table that labels a competition's image files, by its columns: its name may be anything."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import CONFIG_FILE, Config
from competition.data.csv_files import read_text
from competition.data.image_index import ImageIndex
from competition.data.inventory import Inventory, is_named
from competition.data.labels import Labels, encode_column, encode_columns
from competition.data.tables import match_class_columns
from competition.errors import UserError, shorten_list

PROBED_ROWS = 200  # whose cells are compared with the names of images
MIN_MATCHES = 0.5  # of the probed rows whose cells are names of images
LABEL_NAMES = ("label", "labels", "class", "classname", "target", "category", "species", "breed", "diagnosis")


@dataclass(frozen=True)
class LabelTable:
    """A table with the names and labels of training images."""

    path: Path
    table: pd.DataFrame
    id: str
    images: list[str]  # of each row; empty where there is none
    label_columns: list[str]
    labels: Labels
    test_path: Path | None  # of the table that lists the test images
    test_table: pd.DataFrame | None  # its rows in the order of the sample submission
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Candidate:
    path: Path
    table: pd.DataFrame
    id: str
    images: list[str]  # of each row, in its part

    @property
    def is_unique(self) -> bool:
        return not self.table[self.id].duplicated().any()


def find_label_table(
    inventory: Inventory,
    index: ImageIndex,
    sample_table: pd.DataFrame | None,
    test_images: Sequence[str],
    config: Config,
) -> LabelTable | None:
    """The table that labels the training images, or None if no table names them.

    `test_images` are those of the rows of the sample submission, `sample_table`.
    """
    sample = inventory.sample
    sample_columns = [] if sample_table is None else list(sample_table.columns)
    training, test, unused, listed = [], None, [], set(test_images)
    for path in inventory.tables:
        if path == sample:
            continue
        table = read_text(path)
        column = _find_id_column(table, index, sample_columns[:1], config)
        if not column:
            unused.append((path, table))
            continue
        names = table[column].fillna("").tolist()
        in_train, in_test = index.find(names, "train"), index.find(names, "test")
        if _lists_test_images(path, in_train, in_test, listed):
            test = test or _Candidate(path, table, column, in_test)
        else:
            training.append(_Candidate(path, table, column, in_train))
    if not training:
        _reject_unmatched(unused, inventory)
        return None
    targets = sample_columns[1:]
    best = max(training, key=lambda each: _rank(each, targets, config))
    _check_config(best, config)
    best, dropped = _drop_test_rows(best, listed)
    test_columns = [] if test is None else [name for name in test.table.columns if name != test.id]
    config_file = inventory.folder / CONFIG_FILE
    columns, labels = _read_labels(best, targets, test_columns, sample, sample_table, config, config_file)
    _check_agreement(best, training, columns)
    notes = [f"{dropped:,} rows of {best.path.name} are test images and are not used"] if dropped else []
    if others := [each.path.name for each in training if each.path != best.path]:
        notes.append(f"not read, since {best.path.name} has the labels: {shorten_list(others, 6)}")
    listing = None
    if test:
        unique = test.table.assign(**{test.id: test.images}).drop_duplicates(test.id).set_index(test.id)
        listing = unique.reindex(test_images).reset_index(drop=True)
    test_path = test.path if test else None
    return LabelTable(best.path, best.table, best.id, best.images, columns, labels, test_path, listing, notes)


def _lists_test_images(path: Path, in_train: Sequence[str], in_test: Sequence[str], test_images: set[str]) -> bool:
    """Whether the table lists test images: by its name, or because most of its rows are images of no training row.

    `in_train` and `in_test` are the images that its rows would be in either part.
    """
    test_share = np.mean([image in test_images for image in in_test])
    if is_named(path, "test"):
        return bool(test_share > 0) or not test_images
    train_share = np.mean([bool(image) and image not in test_images for image in in_train])
    return bool(test_share > MIN_MATCHES and train_share < MIN_MATCHES) and not is_named(path, "train")


def _rank(candidate: _Candidate, targets: Sequence[str], config: Config) -> tuple[bool | int, ...]:
    """How likely it is that the table has the labels; larger is more likely."""
    has_label = any(name.lower() in LABEL_NAMES for name in candidate.table.columns)
    is_train = is_named(candidate.path, "train")
    return _count_targets(candidate, targets, config), is_train, has_label, candidate.is_unique, len(candidate.table)


def _drop_test_rows(candidate: _Candidate, test_images: set[str]) -> tuple[_Candidate, int]:
    """The table without rows whose image is also a test image, and how many they are."""
    is_test = np.array([image in test_images and bool(image) for image in candidate.images])
    images = [image for image, dropped in zip(candidate.images, is_test, strict=True) if not dropped]
    return replace(candidate, table=candidate.table[~is_test], images=images), int(is_test.sum())


def _reject_unmatched(tables: Sequence[tuple[Path, pd.DataFrame]], inventory: Inventory) -> None:
    """Raise UserError if a table has as many rows as there are images, but none of its columns names them."""
    for path, table in tables:
        if len(table) >= MIN_MATCHES * len(inventory.images):
            column, example = table.columns[0], next(iter(inventory.images))
            raise UserError(
                f"{path}: no column names the images; column {column} has e.g. {table[column].iat[0]!r}, "
                f"and files are like {example}: correct the names, or move the table away if it has no labels"
            )


def _find_id_column(table: pd.DataFrame, index: ImageIndex, preferred: Sequence[str], config: Config) -> str:
    """The column whose cells are names of images, if possible a preferred one; empty if there is none."""
    rows = table.iloc[:: max(1, len(table) // PROBED_ROWS)]
    matches: dict[str, int] = {}
    for name in table.columns:
        cells = rows[name].fillna("")
        found = [index.candidates(cell, "train") or index.candidates(cell, "test") for cell in cells]
        if name == config.id or np.mean([bool(paths) for paths in found]) > MIN_MATCHES:
            matches[name] = 2**31 if name in (config.id, *preferred) else cells.nunique()
    return max(matches, key=lambda name: matches[name]) if matches else ""


def _count_targets(candidate: _Candidate, targets: Sequence[str], config: Config) -> int:
    """How many of the columns that the sample submission asks for the table has."""
    columns = {name.lower() for name in candidate.table.columns if name != candidate.id}
    return len(columns & {name.lower() for name in [*targets, config.label]})


def _check_config(candidate: _Candidate, config: Config) -> None:
    """Raise UserError if the configuration names a column that the table lacks."""
    for key, name in (("label", config.label), ("group", config.group), ("id", config.id)):
        if name and name not in candidate.table.columns:
            raise UserError(f"{candidate.path} has no column {name}, which {CONFIG_FILE} names as the {key}")
    if config.group and config.group in (config.label, candidate.id):
        raise UserError(f"{CONFIG_FILE}: column {config.group} cannot be the group as well")


def _read_labels(
    candidate: _Candidate,
    targets: Sequence[str],
    test_columns: Sequence[str],
    sample: Path | None,
    sample_table: pd.DataFrame | None,
    config: Config,
    config_file: Path,
) -> tuple[list[str], Labels]:
    """The columns that hold the labels, and the labels."""
    path, table = candidate.path, candidate.table
    by_name = {name.lower(): name for name in table.columns if name != candidate.id}
    present = [by_name[name.lower()] for name in targets if name.lower() in by_name]
    if not config.label and len(targets) > 1 and len(present) == len(targets):
        return present, encode_columns(path, table, present)
    placeholder = pd.Series(dtype=str)
    if sample_table is not None and len(targets) == 1:
        placeholder = sample_table[targets[0]]
    column = config.label or _find_label_column(candidate, targets, present, test_columns, sample, config, config_file)
    labels = encode_column(path, table[column], config, placeholder)
    if sample and len(targets) > 1:
        match_class_columns(sample, targets, labels.classes)
    return [column], labels


def _find_label_column(
    candidate: _Candidate,
    targets: Sequence[str],
    present: Sequence[str],
    test_columns: Sequence[str],
    sample: Path | None,
    config: Config,
    config_file: Path,
) -> str:
    """The column that the sample submission names, the one that holds the classes that it names, or the only one."""
    if len(targets) == 1 and present:
        return present[0]
    table = candidate.table
    others = [name for name in table.columns if name not in (candidate.id, config.group, *test_columns)]
    if sample and len(targets) > 1:
        for name in others:
            try:
                classes = set(table[name].dropna().str.strip()) - {""}
                match_class_columns(sample, targets, np.array(sorted(classes)))
            except UserError:
                continue
            return name
        raise UserError(
            f"{sample} has columns {shorten_list(targets, 4)}, but {candidate.path} has neither these columns nor one "
            f"with these classes; name the label in {config_file}"
        )
    named = [name for name in table.columns if name.lower() in LABEL_NAMES and name != candidate.id]
    if len(others) == 1 or len(named) == 1:
        return others[0] if len(others) == 1 else named[0]
    columns = [name for name in table.columns if name != candidate.id] or ["..."]
    raise UserError(
        f"{candidate.path} has columns {shorten_list(table.columns, 4)}; which of them is the label? "
        f'Set it in {config_file}, e.g. label = "{columns[-1]}"'
    )


def _check_agreement(best: _Candidate, candidates: Sequence[_Candidate], columns: Sequence[str]) -> None:
    """Raise UserError if another table has other labels for the same images."""
    if not best.is_unique:
        return
    labels = best.table.set_index(best.id)[list(columns)]
    for other in candidates:
        if other.path == best.path or not other.is_unique or not set(columns) <= set(other.table.columns):
            continue
        rows = other.table.set_index(other.id)[list(columns)]
        common = labels.index.intersection(rows.index)
        differs = (labels.loc[common] != rows.loc[common]).any(axis=1)
        if differs.any():
            raise UserError(
                f"{best.path} and {other.path} have different labels for {common[differs.argmax()]}; remove one of them"
            )
