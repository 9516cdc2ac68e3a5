"""Columns alongside the label: groups that must not be split, leaks that must not be used, and features."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from competition.data.targets import target_kind

PEOPLE = ("animal", "author", "donor", "driver", "individual", "participant", "patient", "person", "speaker", "subject")
SERIES = ("burst", "clip", "scene", "session", "slide", "suite", "user", "video", "writer")
GROUP_WORDS = frozenset((*PEOPLE, *SERIES))
MIN_GROUPS = 5
MIN_ROWS_PER_GROUP = 1.5  # on average
MAX_CATEGORIES = 20  # of a column of text that becomes features
LEAK_PURITY = 0.98  # of rows whose label is the most frequent one of their value, from which on a value tells the label
MAX_LEAK_VALUES = 0.5  # distinct values as a fraction of rows; an id tells every label without being a leak


@dataclass(frozen=True)
class EncodedColumns:
    """Numbers for each training and test row, NaN where unknown; text becomes a column for each category."""

    names: list[str]
    train: np.ndarray
    test: np.ndarray
    left_out: list[str]  # columns of text with too many categories


def find_group_column(train: pd.DataFrame, test: pd.DataFrame | None) -> str:
    """The column of the patient, subject, writer, ... of each row; empty if there is none.

    It is recognized by its name, or because test rows have none of the values of the training rows.
    """
    candidates = [name for name in train.columns if _can_be_group(train[name])]
    named = [name for name in candidates if _is_named_like_group(name)]
    if named:
        return max(named, key=lambda name: train[name].nunique())
    if test is None:
        return ""
    shared = [name for name in candidates if name in test.columns and _can_be_group(test[name])]
    return next((name for name in shared if not set(train[name]) & set(test[name])), "")


def explain_unused_groups(train: pd.DataFrame) -> list[str]:
    """A line for each column that is named like a group but cannot be one."""
    lines = []
    for name in train.columns:
        column, groups = train[name], train[name].dropna().nunique()
        if not _is_named_like_group(name) or _can_be_group(column) or groups > len(column) / MIN_ROWS_PER_GROUP:
            continue
        problem = (
            f"has only {groups} values" if groups < MIN_GROUPS else f"is empty in row {column.isna().argmax() + 1}"
        )
        lines.append(f"column {name} may be groups but {problem}, so folds ignore it; scores may be optimistic")
    return lines


def find_leaks(train: pd.DataFrame, labels: np.ndarray) -> list[str]:
    """The columns whose values tell the label."""
    if target_kind(labels) == "number":
        return []
    codes = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    base = np.bincount(codes).max() / len(codes)
    leaks = []
    for name in train.columns:
        values = train[name].fillna("")
        if values.nunique() <= MAX_LEAK_VALUES * len(values):
            pairs = pd.DataFrame({"value": values.to_numpy(), "label": codes}).value_counts(sort=False)
            purity = pairs.groupby(level="value").max().sum() / len(codes)
            if purity >= max(LEAK_PURITY, base + (1 - base) / 2):
                leaks.append(name)
    return leaks


def encode_columns(train: pd.DataFrame, test: pd.DataFrame) -> EncodedColumns:
    """Encode the columns that both tables have; categories are those of the training rows."""
    names: list[str] = []
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    left_out = []
    for name in train.columns:
        numbers = [pd.to_numeric(table[name], errors="coerce") for table in (train, test)]
        is_numeric = all(
            number.notna().equals(table[name].notna()) for number, table in zip(numbers, (train, test), strict=True)
        )
        if is_numeric and numbers[0].notna().any():
            names.append(name)
            parts.append((numbers[0].to_numpy(np.float32), numbers[1].to_numpy(np.float32)))
            continue
        categories = sorted(train[name].dropna().unique())
        if len(categories) > MAX_CATEGORIES:
            left_out.append(name)
            continue
        for category in categories:
            names.append(f"{name}={category}")
            parts.append(
                ((train[name] == category).to_numpy(np.float32), (test[name] == category).to_numpy(np.float32))
            )
    if not parts:
        return EncodedColumns([], np.empty((len(train), 0), np.float32), np.empty((len(test), 0), np.float32), left_out)
    columns = [np.column_stack(part) for part in zip(*parts, strict=True)]
    return EncodedColumns(names, columns[0], columns[1], left_out)


def _can_be_group(column: pd.Series) -> bool:
    """Whether the column's values are shared by enough rows and differ in enough of them."""
    groups = column.dropna().nunique()
    return MIN_GROUPS <= groups <= len(column) / MIN_ROWS_PER_GROUP and bool(column.notna().all())


def _is_named_like_group(name: str) -> bool:
    """Whether a word of the name is one for groups, also with a suffix as in patientid."""
    words = set(_words(name))
    return bool(GROUP_WORDS & (words | {word.removesuffix("id").removesuffix("no") for word in words}))


def _words(name: str) -> list[str]:
    """The words of a column's name in lower case: patient_id, PatientID and patientId have patient and id."""
    return (
        re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ").replace(".", " ").lower().split()
    )
