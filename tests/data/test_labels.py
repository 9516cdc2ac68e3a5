from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition.data.config import Config
from competition.data.labels import encode_column, encode_columns
from competition.data.targets import target_kind
from competition.errors import UserError

TABLE = Path("train.csv")


def encode(values, sample=("0",), config=None):
    return encode_column(
        TABLE, pd.Series(values, name="y", dtype=str), config or Config(), pd.Series(sample, dtype=str)
    )


@pytest.mark.parametrize(
    ("values", "sample", "kind"),
    [
        (["3", "1", "3"], ["0"], "class"),
        (["Sugar beet", "Common Chickweed", "Maize"], ["Maize"], "class"),
        (["scab", "rust", "scab rust"], ["scab"], "labels"),
        (["0.5", "31.25", "7.5"], ["0"], "number"),
        ([str(score) for score in range(1, 101)], ["38.4"], "number"),
        ([str(label) for label in range(104)], ["0"], "class"),  # many classes, and no fraction in the sample
        (["0", "1", "0"], ["0.5"], "class"),
    ],
)
def test_the_kind_of_target_is_inferred_from_labels_and_placeholders(values, sample, kind):
    assert target_kind(encode(values, sample).values) == kind


@pytest.mark.parametrize(("target", "kind"), [("class", "class"), ("number", "number"), ("labels", "labels")])
def test_the_configuration_decides_the_kind_of_target(target, kind):
    assert target_kind(encode(["1", "2", "3"], config=Config(target=target)).values) == kind


def test_joined_labels_are_split_and_an_empty_cell_has_none():
    labels = encode(["scab", "rust", "scab rust", ""], config=Config(target="labels"))
    assert labels.classes.tolist() == ["rust", "scab"]
    assert labels.values.tolist() == [[0, 1], [1, 0], [1, 1], [0, 0]]


def test_columns_of_which_exactly_one_is_1_are_classes():
    table = pd.DataFrame({"healthy": ["1", "0"], "rust": ["0", "1"]})
    labels = encode_columns(TABLE, table, ["healthy", "rust"])
    assert labels.values.tolist() == [0, 1] and labels.classes.tolist() == ["healthy", "rust"]
    both = encode_columns(TABLE, table.assign(rust=["1", "1"]), ["healthy", "rust"])
    assert both.values.tolist() == [[1, 1], [0, 1]] and both.values.dtype == np.uint8


@pytest.mark.parametrize("cell", ["2", "", "yes", "0.5"])
def test_other_values_in_columns_of_classes_are_rejected(cell):
    table = pd.DataFrame({"healthy": ["1", cell], "rust": ["0", "1"]})
    with pytest.raises(UserError, match=r"train\.csv: row 2 \(line 3\), column healthy: expected 0 or 1"):
        encode_columns(TABLE, table, ["healthy", "rust"])


@pytest.mark.parametrize(
    ("values", "target", "message"),
    [
        (["1", "", "2"], "number", r"row 2 \(line 3\), column y: expected a number, found nothing"),
        (["1", "inf", "2"], "number", r"row 2 .* expected a number, found 'inf'"),
        (["7", "7"], "number", "every value in column y is 7; there is nothing to predict"),
        (["a", "a"], "class", "every label in column y is a"),
        (["a", ""], "class", "expected a label, found nothing"),
        (["a", "a"], "labels", "column y has 1 labels; expected at least two"),
    ],
)
def test_invalid_labels_are_rejected(values, target, message):
    with pytest.raises(UserError, match=message):
        encode(values, config=Config(target=target))
