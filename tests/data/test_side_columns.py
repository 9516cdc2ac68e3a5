import numpy as np
import pandas as pd
import pytest

from competition.data.side_columns import encode_columns, find_group_column, find_leaks

ROWS = 60
RNG = np.random.default_rng(0)


def column(values, count=ROWS):
    return [f"v{RNG.integers(values)}" for _ in range(count)]


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "writer", "subject", "driver-no", "suite_id"])
def test_groups_are_recognized_by_their_name(name):
    assert find_group_column(pd.DataFrame({"age": column(5), name: column(12)}), None) == name


@pytest.mark.parametrize(
    "values",
    [
        [f"p{row}" for row in range(ROWS)],  # a name for each row
        [f"p{row % 2}" for row in range(ROWS)],  # too few groups to split
        [None, *column(12, ROWS - 1)],
    ],
)
def test_columns_that_cannot_be_groups_are_not_used(values):
    assert find_group_column(pd.DataFrame({"patient": values}), None) == ""


def test_a_column_whose_values_differ_between_train_and_test_is_a_group():
    train = pd.DataFrame({"site": column(6), "tray": [f"a{row % 10}" for row in range(ROWS)]})
    test = pd.DataFrame({"site": column(6), "tray": [f"b{row % 10}" for row in range(ROWS)]})
    assert find_group_column(train, test) == "tray"
    assert find_group_column(train, None) == ""


def test_columns_that_tell_the_label_are_leaks():
    labels = np.arange(ROWS) % 2
    train = pd.DataFrame(
        {
            "diagnosis": np.where(labels, "melanoma", column(4)),
            "benign_malignant": np.where(labels, "malignant", "benign"),
            "age": column(5),
            "file": [f"{row}.dcm" for row in range(ROWS)],
        }
    )
    assert find_leaks(train, labels) == ["diagnosis", "benign_malignant"]
    assert find_leaks(train, RNG.permutation(labels)) == []


def test_features_are_numbers_and_categories_of_the_training_rows():
    train = pd.DataFrame({"age": ["30", None, "50"], "sex": ["m", "f", None], "name": ["a", "b", "c"]})
    test = pd.DataFrame({"age": ["41"], "sex": ["other"], "name": ["d"]})
    features = encode_columns(train, test)
    assert features.names == ["age", "sex=f", "sex=m", "name=a", "name=b", "name=c"]
    assert features.train[0, 0] == 30 and np.isnan(features.train[1, 0])
    assert features.test.tolist() == [[41, 0, 0, 0, 0, 0]]


def test_text_with_many_values_is_left_out():
    train = pd.DataFrame({"note": [f"note {row}" for row in range(ROWS)]})
    assert encode_columns(train, train).left_out == ["note"] and encode_columns(train, train).train.shape == (ROWS, 0)
