"""Find the table that labels a competition's image files, by its columns: its name may be anything."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import CONFIG_FILE, Config
from competition.data.csv_files import read_text
from competition.data.image_index import ImageIndex
from competition.data.inventory import Inventory
from competition.data.labels import Labels, encode_column, encode_columns
from competition.data.tables import match_class_columns
from competition.errors import UserError, shorten_list

PROBED_ROWS = 200  # whose cells are compared with the names of images
MIN_MATCHES = 0.5  # of the probed rows whose cells are names of images


@dataclass(frozen=True)
class LabelTable:
    """A table with the names and labels of training images."""

    path: Path
    table: pd.DataFrame
    id: str
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

    @property
    def is_unique(self) -> bool:
        return not self.table[self.id].duplicated().any()


def find_label_table(
    inventory: Inventory, index: ImageIndex, sample: Path | None, test_names: pd.Series, config: Config
) -> LabelTable | None:
    """The table that labels the training images, or None if no table names them."""
    training, test = [], None
    for path in inventory.tables:
        if path == sample:
            continue
        table = read_text(path)
        if not (column := _find_id_column(table, index, test_names.name, config)):
            continue
        if table[column].isin(test_names).mean() > MIN_MATCHES:
            test = test or _Candidate(path, table, column)
        else:
            training.append(_Candidate(path, table, column))
    if not training:
        return None
    sample_table = read_text(sample) if sample else None
    targets = list(sample_table.columns[1:]) if sample_table is not None else []
    best = max(training, key=lambda each: (_count_targets(each, targets, config), each.is_unique, len(each.table)))
    _check_config(best, config)
    test_columns = [] if test is None else [name for name in test.table.columns if name != test.id]
    columns, labels = _read_labels(best, targets, test_columns, sample, sample_table, config)
    _check_agreement(best, training, columns)
    notes: list[str] = []
    if others := [each.path.name for each in training if each is not best]:
        notes.append(f"not read, since {best.path.name} has the labels: {shorten_list(others, 6)}")
    listing = None
    if test:
        unique = test.table.drop_duplicates(test.id).set_index(test.id)
        listing = unique.reindex(test_names).reset_index(drop=True)
    test_path = test.path if test else None
    return LabelTable(best.path, best.table, best.id, columns, labels, test_path, listing, notes)


def _find_id_column(table: pd.DataFrame, index: ImageIndex, sample_id: object, config: Config) -> str:
    """The column whose cells are names of images; empty if there is none."""
    rows = table.iloc[:: max(1, len(table) // PROBED_ROWS)]
    matches: dict[str, int] = {}
    for name in table.columns:
        cells = rows[name].fillna("")
        if name == config.id or sum(index.count([cell], "train") or index.count([cell], "test") for cell in cells) > (
            MIN_MATCHES * len(cells)
        ):
            matches[name] = 2**31 if name in (config.id, sample_id) else cells.nunique()
    return max(matches, key=lambda name: matches[name]) if matches else ""


def _count_targets(candidate: _Candidate, targets: Sequence[str], config: Config) -> int:
    """How many of the columns that the sample submission asks for the table has."""
    columns = {name.lower() for name in candidate.table.columns if name != candidate.id}
    return len(columns & {name.lower() for name in [*targets, config.label]})


def _check_config(candidate: _Candidate, config: Config) -> None:
    """Raise UserError if the configuration names a column that the table lacks."""
    for key, name in (("label", config.label), ("group", config.group)):
        if name and name not in candidate.table.columns:
            raise UserError(f"{candidate.path} has no column {name}, which {CONFIG_FILE} names as the {key}")


def _read_labels(
    candidate: _Candidate,
    targets: Sequence[str],
    test_columns: Sequence[str],
    sample: Path | None,
    sample_table: pd.DataFrame | None,
    config: Config,
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
    column = config.label or _find_label_column(candidate, targets, present, test_columns, sample, config)
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
            f"with these classes; name the label in {candidate.path.parent / CONFIG_FILE}"
        )
    if len(others) == 1:
        return others[0]
    raise UserError(
        f"{candidate.path} has columns {shorten_list(table.columns, 4)}; expected a name and a label: "
        f'set label = "...", id = "..." and optionally group = "..." in {candidate.path.parent / CONFIG_FILE}'
    )


def _check_agreement(best: _Candidate, candidates: Sequence[_Candidate], columns: Sequence[str]) -> None:
    """Raise UserError if another table has other labels for the same images."""
    if not best.is_unique:
        return
    labels = best.table.set_index(best.id)[list(columns)]
    for other in candidates:
        if other is best or not other.is_unique or not set(columns) <= set(other.table.columns):
            continue
        rows = other.table.set_index(other.id)[list(columns)]
        common = labels.index.intersection(rows.index)
        differs = (labels.loc[common] != rows.loc[common]).any(axis=1)
        if differs.any():
            raise UserError(
                f"{best.path} and {other.path} have different labels for {common[differs.argmax()]}; remove one of them"
            )
