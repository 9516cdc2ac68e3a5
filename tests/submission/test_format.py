from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from competition.data.config import CONFIG_FILE, read_config
from competition.data.csv_files import read_text
from competition.data.dataset import load_dataset
from competition.data.tables import match_class_columns
from competition.errors import UserError
from competition.scoring.metrics import find_metric
from competition.scoring.temperature import EPSILON
from competition.submission.format import Sample, load_sample, read_format, read_submission, write_submission


@pytest.fixture
def probabilities(dataset):
    return np.random.default_rng(0).dirichlet(np.ones(10), len(dataset.test_ids))


def test_a_submission_has_the_header_ids_and_order_of_the_sample(competition_folder, dataset, probabilities, tmp_path):
    sample, target = Sample(competition_folder / "sample_submission.csv"), tmp_path / "submission.csv"
    write_submission(probabilities, dataset, sample, target)
    written, expected = target.read_bytes(), sample.path.read_bytes()
    assert written.count(b"\n") == expected.count(b"\n") and b"\r" not in written
    assert written.splitlines()[0] == expected.splitlines()[0] == b"ImageId,Label"
    assert [line.split(b",")[0] for line in written.splitlines()] == [x.split(b",")[0] for x in expected.splitlines()]
    assert (pd.read_csv(target)["Label"] == probabilities.argmax(axis=1)).all()


def test_rows_are_joined_by_id_and_labels_are_written_as_in_train_csv(competition_copy, tmp_path):
    ids = np.random.default_rng(0).permutation(200) + 1000
    sample = pd.DataFrame({"id": ids, "label": "?"})
    sample.to_csv(competition_copy / "sample_submission.csv", index=False)
    test = pd.read_csv(competition_copy / "test.csv")
    pd.concat([pd.Series(np.sort(ids), name="id"), test], axis=1).to_csv(competition_copy / "test.csv", index=False)
    train = pd.read_csv(competition_copy / "train.csv")
    train["label"] = [f"<{label}>" for label in train["label"]]
    train.to_csv(competition_copy / "train.csv", index=False)
    dataset = load_dataset(competition_copy)
    probabilities = np.eye(10)[np.arange(200) % 10]
    write_submission(probabilities, dataset, Sample(competition_copy / "sample_submission.csv"), tmp_path / "s.csv")
    written = pd.read_csv(tmp_path / "s.csv", index_col="id")["label"]
    assert list(written.index) == list(ids)
    assert (written.loc[np.sort(ids)] == [f"<{i % 10}>" for i in range(200)]).all()


def test_ids_and_labels_keep_leading_zeros(competition_copy, tmp_path):
    sample = pd.DataFrame({"id": [f"{row:04}" for row in range(200)], "label": "00"})
    sample.to_csv(competition_copy / "sample_submission.csv", index=False)
    train = pd.read_csv(competition_copy / "train.csv")
    train["label"] = [f"{label:02}" for label in train["label"]]
    train.to_csv(competition_copy / "train.csv", index=False)
    dataset = load_dataset(competition_copy)
    write_submission(
        np.eye(10)[np.full(200, 3)], dataset, Sample(competition_copy / "sample_submission.csv"), tmp_path / "s.csv"
    )
    assert (tmp_path / "s.csv").read_text().splitlines()[:3] == ["id,label", "0000,03", "0001,03"]


INVALID = {
    "header": (lambda table: table.rename(columns={"Label": "label"}), "has the header ImageId,label"),
    "missing row": (lambda table: table.iloc[:-1], "has 199 rows"),
    "order": (
        lambda table: table.iloc[::-1],
        r"row 1 \(line 2\): expected id 1 as in .*, found 200; keep its ids",
    ),
    "label": (
        lambda table: table.assign(Label=[10] + [0] * 199),
        r"row 1 \(line 2\), column Label: expected a class .* found '10'",
    ),
    "empty": (lambda table: table.assign(Label=["0"] * 199 + [""]), r"row 200 .* expected a class .* found nothing"),
}


@pytest.mark.parametrize("defect", INVALID)
def test_an_invalid_submission_is_an_error_that_names_the_cell(
    defect, competition_folder, dataset, probabilities, tmp_path
):
    sample, target = Sample(competition_folder / "sample_submission.csv"), tmp_path / "submission.csv"
    write_submission(probabilities, dataset, sample, target)
    damage, message = INVALID[defect]
    damage(pd.read_csv(target, dtype=object)).to_csv(target, index=False)
    with pytest.raises(UserError, match=message):
        read_submission(target, sample, dataset.classes)


@pytest.fixture
def probability_sample(competition_copy):
    """A sample submission with a probability column for each class, in descending order."""
    sample = pd.DataFrame({"id": np.arange(1, 201)} | {f"digit_{name}": 0.1 for name in range(9, -1, -1)})
    sample.to_csv(competition_copy / "sample_submission.csv", index=False)
    return competition_copy / "sample_submission.csv"


def test_probabilities_are_written_if_the_sample_has_a_column_for_each_class(probability_sample, tmp_path):
    dataset, target = load_dataset(probability_sample.parent), tmp_path / "s.csv"
    probabilities = np.random.default_rng(0).dirichlet(np.full(10, 0.1), 200)
    write_submission(probabilities, dataset, Sample(probability_sample), target)
    written = pd.read_csv(target, index_col="id")
    assert list(written.columns) == [f"digit_{name}" for name in range(9, -1, -1)]
    assert written.to_numpy()[:, ::-1] == pytest.approx(probabilities, rel=1e-5, abs=1.01 * EPSILON)
    assert written.to_numpy().min() >= EPSILON  # a probability of 0 may cost an infinite log loss
    assert read_submission(target, Sample(probability_sample), dataset.classes) == pytest.approx(
        probabilities, rel=1e-5, abs=1.01 * EPSILON
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-0.5", r"row 3 \(line 4\), column digit_9: expected a probability, found '-0.5'"),
        ("sure", "expected a probability, found 'sure'"),
        ("", "expected a probability, found nothing"),
        ("1", r"row 3 \(line 4\): probabilities sum to [\d.]+; expected 1"),
    ],
)
def test_an_invalid_probability_is_an_error_that_names_the_cell(value, message, probability_sample, tmp_path):
    dataset, target = load_dataset(probability_sample.parent), tmp_path / "s.csv"
    write_submission(np.full((200, 10), 0.1), dataset, Sample(probability_sample), target)
    table = read_text(target)
    table.loc[2, "digit_9"] = value
    table.to_csv(target, index=False)
    with pytest.raises(UserError, match=message):
        read_submission(target, Sample(probability_sample), dataset.classes)


def test_sample_columns_that_match_no_classes_are_an_error_when_data_are_loaded(probability_sample):
    table = pd.read_csv(probability_sample).rename(columns={"digit_4": "four"})
    table.to_csv(probability_sample, index=False)
    message = "has 10 columns besides the id, digit_9, .*; expected one label, or the 10 classes, 0, 1, 2, 3 ..."
    with pytest.raises(UserError, match=message):
        load_dataset(probability_sample.parent)


@pytest.fixture
def make_binary(competition_copy):
    """A function that writes a competition with two classes and one column to submit; it returns the folder."""

    def make(column: str, cell: str, config: str, classes: tuple[str, str] = ("0", "1")) -> Path:
        train = pd.read_csv(competition_copy / "train.csv")
        train.assign(label=np.array(classes)[train["label"] % 2]).to_csv(competition_copy / "train.csv", index=False)
        sample = pd.DataFrame({"id": np.arange(1, 201), column: cell})
        sample.to_csv(competition_copy / "sample_submission.csv", index=False)
        (competition_copy / CONFIG_FILE).write_text(config)
        return competition_copy

    return make


@pytest.mark.parametrize(
    ("cell", "config"),
    [("0.5", ""), ("0", 'metric = "log loss"'), ("0", 'metric = "AUC"'), ("0", 'submission = "probabilities"')],
)
def test_a_single_column_holds_the_probability_of_the_second_of_two_classes(cell, config, make_binary, tmp_path):
    folder, target = make_binary("is_odd", cell, config), tmp_path / "s.csv"
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), 200)
    sample = load_sample(folder, find_metric(read_config(folder).metric))
    dataset = load_dataset(folder)
    write_submission(probabilities, dataset, sample, target)
    assert pd.read_csv(target)["is_odd"].to_numpy() == pytest.approx(probabilities[:, 1], rel=1e-5)
    assert read_submission(target, sample, dataset.classes) == pytest.approx(probabilities, abs=1e-5)


def test_a_single_column_named_after_the_first_class_holds_its_probability(make_binary, tmp_path):
    folder, target = make_binary("even", "0.5", "", classes=("even", "odd")), tmp_path / "s.csv"
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), 200)
    sample = Sample(folder / "sample_submission.csv")
    dataset = load_dataset(folder)
    write_submission(probabilities, dataset, sample, target)
    assert pd.read_csv(target)["even"].to_numpy() == pytest.approx(probabilities[:, 0], rel=1e-5)
    assert read_submission(target, sample, dataset.classes) == pytest.approx(probabilities, abs=1e-5)


def test_probabilities_of_0_and_1_are_clipped(make_binary, tmp_path):
    folder, target = make_binary("odd", "0.5", ""), tmp_path / "s.csv"
    write_submission(
        np.eye(2)[np.arange(200) % 2], load_dataset(folder), Sample(folder / "sample_submission.csv"), target
    )
    # An error at 0 or 1 would cost an infinite log loss.
    assert set(pd.read_csv(target)["odd"]) == {EPSILON, 1 - EPSILON}


def test_config_distinguishes_fractional_labels_from_probabilities(make_binary, tmp_path):
    folder, target = make_binary("grade", "0.5", 'submission = "labels"', classes=("0.5", "1.5")), tmp_path / "s.csv"
    write_submission(
        np.eye(2)[np.arange(200) % 2], load_dataset(folder), load_sample(folder, find_metric("accuracy")), target
    )
    assert pd.read_csv(target)["grade"].tolist() == [0.5, 1.5] * 100


def test_one_column_for_the_probabilities_of_ten_classes_is_an_error(competition_folder, dataset, tmp_path):
    sample = load_sample(competition_folder, find_metric("log loss"))
    message = "has one column for probabilities; expected one column for each of 10 classes: 0, 1, 2"
    with pytest.raises(UserError, match=message):
        write_submission(np.full((200, 10), 0.1), dataset, sample, tmp_path / "s.csv")


def test_ten_columns_for_a_label_are_an_error(probability_sample, tmp_path):
    with pytest.raises(UserError, match=r"has 10 columns besides the id; competition\.toml says submission = \"labels"):
        write_submission(
            np.full((200, 10), 0.1),
            load_dataset(probability_sample.parent),
            Sample(probability_sample, "labels"),
            tmp_path / "s",
        )


def test_the_id_column_may_have_another_name_in_the_sample(competition_copy, tmp_path):
    test = pd.read_csv(competition_copy / "test.csv")
    ids = [f"image{row}" for row in range(200)]
    pd.concat([pd.Series(ids, name="image"), test], axis=1).to_csv(competition_copy / "test.csv", index=False)
    sample = pd.DataFrame({"id": ids[::-1], "label": 0})
    sample.to_csv(competition_copy / "sample_submission.csv", index=False)
    (competition_copy / "competition.toml").write_text('id = "image"')
    dataset = load_dataset(competition_copy)
    write_submission(
        np.eye(10)[np.arange(200) % 10], dataset, Sample(competition_copy / "sample_submission.csv"), tmp_path / "s"
    )
    written = pd.read_csv(tmp_path / "s", index_col="id")["label"]
    assert written[ids].tolist() == [row % 10 for row in range(200)] and list(written.index) == ids[::-1]


@pytest.mark.parametrize(
    ("columns", "classes", "indices"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["class_11", "class_1"], ["1", "11"], [1, 0]),
        (["c1", "c11", "c2"], ["1", "2", "11"], [0, 2, 1]),
        (["xa", "yb"], ["a", "b"], None),
        (["a", "a2"], ["a", "b"], None),
    ],
)
def test_columns_are_matched_with_classes_by_name(columns, classes, indices):
    if indices:
        assert match_class_columns(Path("sample.csv"), columns, np.array(classes)).tolist() == indices
    else:
        with pytest.raises(UserError, match=r"sample\.csv has 2 columns besides the id"):
            match_class_columns(Path("sample.csv"), columns, np.array(classes))


def test_the_rows_of_written_probabilities_sum_to_1(probability_sample, tmp_path):
    dataset = load_dataset(probability_sample.parent)
    probabilities = np.random.default_rng(0).dirichlet(np.full(10, 0.05), 200).astype(np.float32)
    write_submission(probabilities, dataset, Sample(probability_sample), tmp_path / "s.csv")
    assert abs(pd.read_csv(tmp_path / "s.csv", index_col="id").sum(axis=1) - 1).max() < 1e-6


def write_sample(folder: Path, dataset, **columns) -> Path:
    """A sample submission with these columns besides the id."""
    path = folder / "sample_submission.csv"
    pd.DataFrame({"id": dataset.test_ids} | columns).to_csv(path, index=False)
    return path


@pytest.fixture
def label_probabilities(label_dataset):
    return np.random.default_rng(0).random((len(label_dataset.test_ids), 3)).round(4)


def test_label_sets_are_submitted_as_a_probability_for_each_label(label_dataset, label_probabilities, tmp_path):
    sample = Sample(write_sample(tmp_path, label_dataset, loop=0.5, even=0.5, large=0.5), kind="labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    written = pd.read_csv(tmp_path / "s.csv")
    assert written[["even", "large", "loop"]].to_numpy() == pytest.approx(label_probabilities, abs=1e-6)
    assert read_submission(tmp_path / "s.csv", sample, label_dataset.classes) == pytest.approx(label_probabilities)


def test_label_sets_are_submitted_as_0_and_1_if_the_config_says_labels(label_dataset, label_probabilities, tmp_path):
    sample = Sample(write_sample(tmp_path, label_dataset, even=0, large=0, loop=0), "labels", "labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[1][-6:] in {f",{a},{b},{c}" for a, b, c in np.ndindex(2, 2, 2)}
    submitted = read_submission(tmp_path / "s.csv", sample, label_dataset.classes)
    assert (submitted == (label_probabilities >= 0.5)).all()


@pytest.mark.parametrize("cell", ["", "even loop"])
def test_label_sets_are_submitted_as_names_in_one_cell(cell, label_dataset, label_probabilities, tmp_path):
    assert not label_dataset.labels.any(axis=1).all()  # so that empty sets may be predicted
    sample = Sample(write_sample(tmp_path, label_dataset, labels=cell), kind="labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    written = read_text(tmp_path / "s.csv")["labels"]
    names = np.array(["even", "large", "loop"])
    assert written.tolist() == [" ".join(names[row >= 0.5]) for row in label_probabilities]
    assert (read_submission(tmp_path / "s.csv", sample, names) == (label_probabilities >= 0.5)).all()


def test_the_most_probable_label_is_submitted_where_none_is_likely_and_no_training_row_is_without(
    label_dataset, tmp_path
):
    complete = replace(label_dataset, labels=np.maximum(label_dataset.labels, [0, 0, 1]))
    probabilities = np.tile([0.3, 0.4, 0.1], (len(complete.test_ids), 1))
    sample = Sample(write_sample(tmp_path, complete, labels=""), kind="labels")
    write_submission(probabilities, complete, sample, tmp_path / "s.csv")
    assert set(read_text(tmp_path / "s.csv")["labels"]) == {"large"}


@pytest.mark.parametrize("value", ["even even", "even odd", "evenloop"])
def test_an_unknown_or_repeated_label_is_an_error(value, label_dataset, label_probabilities, tmp_path):
    sample = Sample(write_sample(tmp_path, label_dataset, labels=""), kind="labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    table = read_text(tmp_path / "s.csv")
    table.loc[2, "labels"] = value
    table.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match=rf"row 3 \(line 4\), column labels: expected different labels .* '{value}'"):
        read_submission(tmp_path / "s.csv", sample, label_dataset.classes)


@pytest.mark.parametrize(
    ("cell", "metric", "config", "length"),
    [
        ("0 1 2", "accuracy", "", 3),
        ("0 1", "accuracy", "", 2),
        ("", "MAP@4", "", 4),
        ("", "MAP@20", "", 10),
        ("0", "accuracy", 'submission = "ranked"', 5),
    ],
)
def test_classes_are_ranked_in_one_cell(cell, metric, config, length, dataset, probabilities, tmp_path):
    write_sample(tmp_path, dataset, label=cell)
    (tmp_path / CONFIG_FILE).write_text(config)
    sample = load_sample(tmp_path, find_metric(metric))
    write_submission(probabilities, dataset, sample, tmp_path / "s.csv")
    written = read_text(tmp_path / "s.csv")["label"].str.split()
    assert written.tolist() == (-probabilities).argsort(axis=1)[:, :length].astype(str).tolist()
    submitted = read_submission(tmp_path / "s.csv", sample, dataset.classes)
    score = find_metric(f"MAP@{length}").score
    labels = np.arange(200) % 10
    assert score(labels, submitted).value == pytest.approx(score(labels, probabilities).value)


def test_numbers_are_submitted_in_one_column(number_dataset, tmp_path):
    numbers = np.random.default_rng(0).normal(size=(len(number_dataset.test_ids), 1))
    sample = Sample(write_sample(tmp_path, number_dataset, value=0), kind="number")
    write_submission(numbers, number_dataset, sample, tmp_path / "s.csv")
    assert read_submission(tmp_path / "s.csv", sample, number_dataset.classes) == pytest.approx(numbers, rel=1e-6)
    (tmp_path / "s.csv").write_text((tmp_path / "s.csv").read_text().replace(",", ",x", 2).replace("xvalue", "value"))
    with pytest.raises(UserError, match=r"row 1 \(line 2\), column value: expected a number, found 'x"):
        read_submission(tmp_path / "s.csv", sample, number_dataset.classes)


def test_content_that_does_not_fit_the_target_is_an_error(number_dataset, label_dataset, tmp_path):
    path = write_sample(tmp_path, number_dataset, value=0)
    for sample, dataset, expected in (
        (Sample(path, "labels", "number"), number_dataset, 'expected submission = "number"'),
        (Sample(path, "number", "labels"), label_dataset, 'expected submission = "labels" or submission'),
    ):
        outputs = np.zeros((len(dataset.test_ids), len(dataset.classes)))
        with pytest.raises(UserError, match=rf'competition\.toml says submission = "{sample.content}"; {expected}'):
            write_submission(outputs, dataset, sample, tmp_path / "s.csv")


names = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12)


@st.composite
def submissions(draw):
    """Ids, class names, and the class of each id."""
    ids = draw(st.lists(names, min_size=2, max_size=20, unique=True))
    classes = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    labels = draw(st.lists(st.sampled_from(range(len(classes))), min_size=len(ids), max_size=len(ids)))
    return np.array(ids), np.array(sorted(classes)), np.array(labels)


def write_drawn(drawn, dataset, folder):
    """Write a drawn submission and its sample; return both and the classes."""
    ids, classes, labels = drawn
    sample, target = Sample(folder / "sample_submission.csv"), folder / "submission.csv"
    pd.DataFrame({"id": ids, "label": "?"}).to_csv(sample.path, index=False)
    order = np.argsort(ids)  # test.csv may be in another order than the sample
    small = replace(dataset, classes=classes, test_ids=ids[order])
    write_submission(np.eye(len(classes))[labels[order]], small, sample, target)
    return target, sample, classes


@given(drawn=submissions())
def test_any_ids_and_class_names_survive_a_round_trip(drawn, dataset, tmp_path):
    ids, classes, labels = drawn
    target, *context = write_drawn(drawn, dataset, tmp_path)
    assert read_submission(target, *context).argmax(axis=1).tolist() == labels.tolist()
    table = read_text(target)
    assert table["id"].tolist() == ids.tolist() and table["label"].tolist() == classes[labels].tolist()


ALTERATIONS = {
    "another id": lambda table, row, name: table.assign(id=table["id"].where(table.index != row, name)),
    "another label": lambda table, row, name: table.assign(label=table["label"].where(table.index != row, name)),
    "missing row": lambda table, row, name: table.drop(index=row),
    "additional row": lambda table, row, name: pd.concat([table, table.iloc[[row]]]),
    "another order": lambda table, row, name: table.iloc[np.roll(table.index, row + 1)],
    "another header": lambda table, row, name: table.rename(columns={"label": name}),
}


@pytest.mark.parametrize("change", ALTERATIONS)
@given(drawn=submissions(), at=st.integers(0, 19), other=names)
def test_an_altered_submission_is_an_error(change, drawn, at, other, dataset, tmp_path):
    ids, classes, _ = drawn
    target, sample, classes = write_drawn(drawn, dataset, tmp_path)
    table = read_text(target)
    altered = ALTERATIONS[change](table, at % len(ids), other)
    assume(not altered.reset_index(drop=True).equals(table) and other not in classes)
    altered.to_csv(target, index=False)
    with pytest.raises(UserError):
        read_submission(target, sample, classes)


def set_cells(path: Path, row: int, **cells: str) -> None:
    """Change cells of a row, which counts from 0."""
    table = read_text(path)
    table.loc[row, list(cells)] = list(cells.values())
    table.to_csv(path, index=False)


def error_of_writing(predictions, dataset, sample, target):
    with pytest.raises(UserError) as error:
        write_submission(predictions, dataset, sample, target)
    return str(error.value)


def error_of_reading(path, sample, classes):
    with pytest.raises(UserError) as error:
        read_submission(path, sample, classes)
    return str(error.value)


def test_equally_probable_classes_are_ranked_in_their_order(dataset, tmp_path):
    many = replace(dataset, classes=np.arange(20))
    sample = Sample(write_sample(tmp_path, dataset, label=""), "ranked", length=20)
    write_submission(np.full((200, 20), 0.05), many, sample, tmp_path / "s.csv")
    assert read_text(tmp_path / "s.csv")["label"][7] == " ".join(map(str, range(20)))


@pytest.fixture
def ranking(dataset, probabilities, tmp_path):
    """The sample and the file of a ranking of three classes."""
    sample = Sample(write_sample(tmp_path, dataset, label="0 1 2"), length=5)
    write_submission(probabilities, dataset, sample, tmp_path / "s.csv")
    return sample, tmp_path / "s.csv"


@pytest.mark.parametrize("cell", ["", "1 2 3 4", "1 1", "1 11"])
def test_a_ranking_holds_one_to_so_many_different_classes(cell, ranking, dataset):
    sample, path = ranking
    set_cells(path, 2, label=cell)
    assert error_of_reading(path, sample, dataset.classes).startswith(
        f"{path}: row 3 (line 4), column label: expected 1 to 3 different classes, separated by spaces, found "
    )


def test_the_ranks_of_a_submission_are_read_as_fractions(ranking, dataset):
    sample, path = ranking
    set_cells(path, 2, label="7")
    set_cells(path, 3, label="3 1")
    read = read_submission(path, sample, dataset.classes)
    assert read[2].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0] and read[3, [3, 1]].tolist() == [1, 0.5]


def test_probabilities_of_labels_are_clipped(label_dataset, tmp_path):
    sample = Sample(write_sample(tmp_path, label_dataset, even=0.5, large=0.5, loop=0.5), kind="labels")
    extremes = np.tile([0.0, 1.0, 0.25], (len(label_dataset.test_ids), 1))
    write_submission(extremes, label_dataset, sample, tmp_path / "s.csv")
    written = pd.read_csv(tmp_path / "s.csv")[["even", "large", "loop"]].to_numpy()
    assert written == pytest.approx(np.tile([EPSILON, 1 - EPSILON, 0.25], (len(extremes), 1)))


def test_several_columns_of_a_ranking_are_an_error(label_dataset, label_probabilities, tmp_path):
    path = write_sample(tmp_path, label_dataset, even=0, large=0, loop=0)
    message = error_of_writing(label_probabilities, label_dataset, Sample(path, "ranked", "labels"), tmp_path / "s.csv")
    problem = f'{path} has 3 columns besides the id; {CONFIG_FILE} says submission = "ranked"'
    assert message == f"{problem}, which needs one: remove that line"


def test_columns_that_are_not_the_labels_are_an_error_that_names_the_sample(
    label_dataset, label_probabilities, tmp_path
):
    path = write_sample(tmp_path, label_dataset, even=0.5, large=0.5, tall=0.5)
    message = error_of_writing(label_probabilities, label_dataset, Sample(path, kind="labels"), tmp_path / "s.csv")
    assert message.startswith(f"{path} has 3 columns besides the id, even, large, tall; expected ")


def test_names_with_spaces_cannot_share_a_cell(label_dataset, label_probabilities, tmp_path):
    path = write_sample(tmp_path, label_dataset, labels="")
    named = replace(label_dataset, classes=np.array(["even", "very large", "loop"]))
    message = error_of_writing(label_probabilities, named, Sample(path, kind="labels"), tmp_path / "s.csv")
    problem = "has one column for several classes, but class 'very large' contains a space"
    assert message == f"{path} {problem}"


def test_classes_of_two_words_are_not_treated_as_rankings(dataset, tmp_path):
    named = replace(dataset, classes=np.array([f"digit {name}" for name in range(10)]))
    sample = Sample(write_sample(tmp_path, dataset, label="digit 0"))
    write_submission(np.eye(10)[np.arange(200) % 10], named, sample, tmp_path / "s.csv")
    assert read_text(tmp_path / "s.csv")["label"][13] == "digit 3"
    (tmp_path / "s.csv").write_text((tmp_path / "s.csv").read_text().replace("digit 3", "digit3"))
    with pytest.raises(UserError, match=r"^\S*s\.csv: row 4 \(line 5\), column label: expected a class of the comp"):
        read_submission(tmp_path / "s.csv", sample, named.classes)


def test_messages_of_samples_name_the_file(dataset, label_dataset, number_dataset, tmp_path):
    target, path = tmp_path / "s.csv", tmp_path / "sample_submission.csv"
    probabilities, sets, numbers = (np.full((200, outputs), 0.5) for outputs in (10, 3, 1))

    write_sample(tmp_path, dataset, label=0)
    unknown = pd.read_csv(path)
    unknown.loc[4, "id"] = 999
    unknown.to_csv(path, index=False)
    expected = f"{path}: row 5 (line 6), column id: expected the id of a test row, found '999'"
    assert error_of_writing(probabilities, dataset, Sample(path), target) == expected

    write_sample(tmp_path, number_dataset, x=0, y=0)
    expected = f"{path} has 2 columns besides the id; expected one, for the number"
    assert error_of_writing(numbers, number_dataset, Sample(path, kind="number"), target) == expected

    write_sample(tmp_path, label_dataset, labels=0)
    labels = Sample(path, "probabilities", "labels")
    expected = "expected one column for each of 3 classes: even, large, loop"
    assert error_of_writing(sets, label_dataset, labels, target) == (
        f"{path} has one column for probabilities; {expected}"
    )

    write_sample(tmp_path, dataset, label=0.5)
    expected = "expected one column for each of 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert error_of_writing(probabilities, dataset, Sample(path), target) == (
        f"{path} contains fractional values; {expected}"
    )


@pytest.mark.parametrize(
    ("content", "value", "expected"),
    [
        ("labels", "0.5", "0 or 1"),
        ("labels", "2", "0 or 1"),
        ("probabilities", "1.5", "a probability"),
        ("probabilities", "-0.1", "a probability"),
    ],
)
def test_a_cell_that_is_no_label_or_probability_is_an_error(
    content, value, expected, label_dataset, label_probabilities, tmp_path
):
    sample = Sample(write_sample(tmp_path, label_dataset, even=0, large=0, loop=0), content, "labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    set_cells(tmp_path / "s.csv", 2, large=value)
    start = f"{tmp_path / 's.csv'}: row 3 (line 4), column large"
    message = error_of_reading(tmp_path / "s.csv", sample, label_dataset.classes)
    assert message == f"{start}: expected {expected}, found '{value}'"


@pytest.mark.parametrize(("metric", "content"), [("macro F1", "labels"), ("mean column AUC", "probabilities")])
def test_columns_of_labels_hold_0_and_1_if_the_metric_scores_labels(metric, content, label_dataset, tmp_path):
    write_sample(tmp_path, label_dataset, even=0, large=0, loop=0)
    sample = load_sample(tmp_path, find_metric(metric), kind="labels")
    assert read_format(sample, label_dataset.classes).content == content


def test_probabilities_of_exactly_0_and_1_are_read(label_dataset, label_probabilities, tmp_path):
    sample = Sample(write_sample(tmp_path, label_dataset, even=0.5, large=0.5, loop=0.5), kind="labels")
    write_submission(label_probabilities, label_dataset, sample, tmp_path / "s.csv")
    set_cells(tmp_path / "s.csv", 2, even="0", large="1")
    assert read_submission(tmp_path / "s.csv", sample, label_dataset.classes)[2, :2].tolist() == [0, 1]


def test_another_header_number_of_rows_or_id_is_an_error_with_its_remedy(dataset, probabilities, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    sample, path = Sample(write_sample(folder, dataset, label=0)), tmp_path / "s.csv"
    write_submission(probabilities, dataset, sample, path)
    table, remedy = read_text(path), f"run `make submit COMPETITION=letters` again, or start from {sample.path}"

    table.rename(columns={"label": "Label"}).to_csv(path, index=False)
    message = error_of_reading(path, sample, dataset.classes)
    assert message == f"{path} has the header id,Label; expected id,label: {remedy}"

    table[:-1].to_csv(path, index=False)
    assert error_of_reading(path, sample, dataset.classes) == f"{path} has 199 rows; expected 200: {remedy}"

    table.assign(id=["7", *table["id"][1:]]).to_csv(path, index=False)
    expected = "expected id 1 as in sample_submission.csv, found 7; keep its ids and row order"
    assert error_of_reading(path, sample, dataset.classes) == f"{path}: row 1 (line 2): {expected}"


def test_rows_whose_probabilities_do_not_sum_to_1_are_an_error_that_names_the_file(probability_sample, tmp_path):
    dataset, path = load_dataset(probability_sample.parent), tmp_path / "s.csv"
    write_submission(np.full((200, 10), 0.1), dataset, Sample(probability_sample), path)
    set_cells(path, 2, digit_9="0.5")
    message = error_of_reading(path, Sample(probability_sample), dataset.classes)
    assert message == f"{path}: row 3 (line 4): probabilities sum to 1.4; expected 1"


def test_lines_of_a_submission_end_as_kaggle_expects_and_numbers_have_seven_digits(number_dataset, tmp_path):
    sample = Sample(write_sample(tmp_path, number_dataset, value=0), kind="number")
    write_submission(np.full((200, 1), 1e-12 / 3), number_dataset, sample, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes().splitlines(keepends=True)[1] == b"1,3.333333e-13\n"
