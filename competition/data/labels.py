"""Encode the labels of a competition: one or several of them for each row, or a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from competition.data.config import Config
from competition.data.csv_files import check_column, check_values
from competition.errors import UserError

MAX_SAFE_INTEGER = 2.0**53  # smaller integers are exact as a float
NULLS = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none")  # how programs write a missing number
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+"
ZERO_PADDED = r"[+-]?0\d.*"
MIN_NUMBERS = 20  # distinct integers, from which on they may be numbers to predict rather than classes


@dataclass(frozen=True)
class Labels:
    """The labels of the training rows as `competition.data.targets` describes them, and the names of the classes."""

    values: np.ndarray
    classes: np.ndarray


def encode_column(path: Path, column: pd.Series, config: Config, sample: pd.Series) -> Labels:
    """Encode a column of labels; `sample` is the column of the sample submission."""
    kind = config.target or ("number" if _looks_like_numbers(column, sample) else "")
    if kind == "number":
        return encode_numbers(path, column)
    if kind == "labels" or (not kind and has_joined_labels(column)):
        return encode_joined_labels(path, column)
    classes, labels = np.unique(read_labels(path, column), return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"{path}: every label in column {column.name} is {classes[0]}; expected at least two classes")
    return Labels(labels.astype(np.int64), classes)


def encode_columns(path: Path, table: pd.DataFrame, names: Sequence[str]) -> Labels:
    """Encode columns of 0 and 1, one for each class: exactly one is 1 in each row, or several may be."""
    numbers = table[names].apply(pd.to_numeric, errors="coerce")
    for name in names:
        check_column(path, table[name], numbers[name].isin([0, 1]), "0 or 1, since there is a column for each class")
    values = numbers.to_numpy(dtype=np.uint8)
    if (values.sum(axis=1) == 1).all():
        return Labels(values.argmax(axis=1).astype(np.int64), np.array(names))
    return Labels(values, np.array(names))


def encode_numbers(path: Path, column: pd.Series) -> Labels:
    """Encode a column of numbers to predict."""
    numbers = pd.to_numeric(column, errors="coerce")
    check_column(path, column, np.isfinite(numbers), "a number")
    if numbers.nunique() < 2:
        raise UserError(
            f"{path}: every value in column {column.name} is {numbers.iat[0]:g}; there is nothing to predict"
        )
    return Labels(numbers.to_numpy(dtype=np.float32), np.array([str(column.name)]))


def read_labels(path: Path, column: pd.Series) -> np.ndarray:
    """The labels as integers if all are integers in any notation, otherwise as text; none may be missing."""
    text = column.str.strip()
    values = pd.to_numeric(text, errors="coerce")
    is_number = values.abs() < MAX_SAFE_INTEGER
    is_missing = text.isna() | text.eq("")
    # None may be a class among other names, but among numbers it means a missing value.
    is_ambiguous = ~is_number & (text.str.lower().isin(NULLS) | text.str.fullmatch(THOUSANDS, na=False))
    check_column(path, column, ~is_missing, "a label")
    if is_number.any():
        remedy = "fill it in or remove the row"
        check_values(
            path, column, ~is_ambiguous, lambda value: f"ambiguous label {value} among numeric labels; {remedy}"
        )
    is_padded = text.str.fullmatch(ZERO_PADDED)
    if is_number.all() and not is_padded.any() and (values % 1 == 0).all():
        return values.astype(np.int64).to_numpy()
    first_spelling = text[is_number].groupby(values[is_number]).transform("first").reindex(text.index, fill_value="")
    if (differs := is_number & (text != first_spelling)).any():
        spelling = first_spelling[differs].iat[0]
        check_values(
            path, column, ~differs, lambda value: f"inconsistent label spelling {value}; earlier rows use '{spelling}'"
        )
    return text.to_numpy().astype(str)


def has_joined_labels(column: pd.Series) -> bool:
    """Whether cells hold several labels, separated by spaces.

    `scab rust` is two labels where `scab` and `rust` are labels of other rows; `Sugar beet` is one.
    """
    values = column.dropna().str.strip().unique()
    several = [tokens for value in values if len(tokens := value.split()) > 1]
    single = {value for value in values if len(value.split()) == 1}
    return bool(several) and all(token in single for tokens in several for token in tokens)


def encode_joined_labels(path: Path, column: pd.Series) -> Labels:
    """Encode cells that hold several labels, separated by spaces; an empty cell has none."""
    cells = [cell.split() for cell in column.fillna("")]
    classes = sorted({label for cell in cells for label in cell})
    if len(classes) < 2:
        raise UserError(f"{path}: column {column.name} has {len(classes)} labels; expected at least two")
    index = {label: position for position, label in enumerate(classes)}
    values = np.zeros((len(cells), len(classes)), dtype=np.uint8)
    for row, cell in enumerate(cells):
        values[row, [index[label] for label in cell]] = 1
    return Labels(values, np.array(classes))


def _looks_like_numbers(column: pd.Series, sample: pd.Series) -> bool:
    """Whether the column holds numbers to predict: fractions, or integers for which the sample has fractions."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        return False
    placeholders = pd.to_numeric(sample, errors="coerce")
    has_fractions = bool((placeholders % 1 > 0).any())
    is_probability = bool(placeholders.between(0, 1).all())
    distinct = numbers.nunique()
    if (numbers % 1 != 0).any():
        return distinct > 2
    return distinct >= MIN_NUMBERS and has_fractions and not is_probability
