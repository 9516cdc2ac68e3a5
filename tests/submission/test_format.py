from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from competition.data.config import FILE, read
from competition.data.csv_files import text
from competition.data.dataset import load
from competition.data.tables import class_of
from competition.errors import Problem
from competition.scoring.metrics import named
from competition.scoring.temperature import SMALLEST
from competition.submission.format import Sample, asked, check, write


@pytest.fixture
def probabilities(dataset):
    return np.random.default_rng(0).dirichlet(np.ones(10), len(dataset.test_ids))


def test_it_follows_the_sample_to_the_letter(competition_folder, dataset, probabilities, tmp_path):
    sample, target = Sample(competition_folder / "sample_submission.csv"), tmp_path / "submission.csv"
    write(probabilities, dataset, sample, target)
    written, wanted = target.read_bytes(), sample.path.read_bytes()
    assert written.count(b"\n") == wanted.count(b"\n") and b"\r" not in written
    assert written.splitlines()[0] == wanted.splitlines()[0] == b"ImageId,Label"
    assert [line.split(b",")[0] for line in written.splitlines()] == [x.split(b",")[0] for x in wanted.splitlines()]
    assert (pd.read_csv(target)["Label"] == probabilities.argmax(axis=1)).all()


def test_rows_are_joined_by_id_and_labels_written_as_they_came(own_competition, tmp_path):
    ids = np.random.default_rng(0).permutation(200) + 1000
    sample = pd.DataFrame({"id": ids, "label": "?"})
    sample.to_csv(own_competition / "sample_submission.csv", index=False)
    test = pd.read_csv(own_competition / "test.csv")
    pd.concat([pd.Series(np.sort(ids), name="id"), test], axis=1).to_csv(own_competition / "test.csv", index=False)
    train = pd.read_csv(own_competition / "train.csv")
    train["label"] = [f"<{label}>" for label in train["label"]]
    train.to_csv(own_competition / "train.csv", index=False)
    dataset = load(own_competition)
    probabilities = np.eye(10)[np.arange(200) % 10]
    write(probabilities, dataset, Sample(own_competition / "sample_submission.csv"), tmp_path / "s.csv")
    written = pd.read_csv(tmp_path / "s.csv", index_col="id")["label"]
    assert list(written.index) == list(ids)
    assert (written.loc[np.sort(ids)] == [f"<{i % 10}>" for i in range(200)]).all()


def test_ids_and_labels_keep_their_zeros(own_competition, tmp_path):
    sample = pd.DataFrame({"id": [f"{row:04}" for row in range(200)], "label": "00"})
    sample.to_csv(own_competition / "sample_submission.csv", index=False)
    train = pd.read_csv(own_competition / "train.csv")
    train["label"] = [f"{label:02}" for label in train["label"]]
    train.to_csv(own_competition / "train.csv", index=False)
    dataset = load(own_competition)
    write(np.eye(10)[np.full(200, 3)], dataset, Sample(own_competition / "sample_submission.csv"), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[:3] == ["id,label", "0000,03", "0001,03"]


BROKEN = {
    "header": (lambda table: table.rename(columns={"Label": "label"}), "has the header ImageId,label"),
    "missing row": (lambda table: table.iloc[:-1], "has 199 rows"),
    "order": (lambda table: table.iloc[::-1], r"row 1 \(line 2\), column ImageId: 200 stands where"),
    "label": (lambda table: table.assign(Label=[10] + [0] * 199), r"row 1 \(line 2\), column Label: 10 is no class"),
    "nothing": (lambda table: table.assign(Label=["0"] * 199 + [""]), r"row 200 .* is no class"),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_a_defect_is_refused_with_its_place(defect, competition_folder, dataset, probabilities, tmp_path):
    sample, target = Sample(competition_folder / "sample_submission.csv"), tmp_path / "submission.csv"
    write(probabilities, dataset, sample, target)
    spoil, message = BROKEN[defect]
    spoil(pd.read_csv(target, dtype=object)).to_csv(target, index=False)
    with pytest.raises(Problem, match=message):
        check(target, sample, dataset.classes)


@pytest.fixture
def asked_for_each(own_competition):
    """The competition, asking for the probability of each class, in an order of its own."""
    sample = pd.DataFrame({"id": np.arange(1, 201)} | {f"digit_{name}": 0.1 for name in range(9, -1, -1)})
    sample.to_csv(own_competition / "sample_submission.csv", index=False)
    return own_competition / "sample_submission.csv"


def test_probabilities_are_written_where_the_sample_has_a_column_for_each_class(asked_for_each, tmp_path):
    dataset, target = load(asked_for_each.parent), tmp_path / "s.csv"
    said = np.random.default_rng(0).dirichlet(np.full(10, 0.1), 200)
    write(said, dataset, Sample(asked_for_each), target)
    written = pd.read_csv(target, index_col="id")
    assert list(written.columns) == [f"digit_{name}" for name in range(9, -1, -1)]
    assert written.to_numpy()[:, ::-1] == pytest.approx(said, rel=1e-5, abs=1.01 * SMALLEST)
    assert written.to_numpy().min() >= SMALLEST  # a nought would cost the more the surer it was
    assert check(target, Sample(asked_for_each), dataset.classes) == pytest.approx(said, rel=1e-5, abs=1.01 * SMALLEST)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-0.5", r"row 3 \(line 4\), column digit_9: -0.5 is no probability"),
        ("sure", "sure is no probability"),
        ("", "is no probability"),
        ("1", r"row 3 \(line 4\), column digit_9: 1 begins a row of probabilities whose sum is not 1"),
    ],
)
def test_what_is_no_probability_is_refused_with_its_place(value, message, asked_for_each, tmp_path):
    dataset, target = load(asked_for_each.parent), tmp_path / "s.csv"
    write(np.full((200, 10), 0.1), dataset, Sample(asked_for_each), target)
    table = text(target)
    table.loc[2, "digit_9"] = value
    table.to_csv(target, index=False)
    with pytest.raises(Problem, match=message):
        check(target, Sample(asked_for_each), dataset.classes)


def test_a_sample_whose_columns_are_no_classes_is_refused_before_anything_is_trained(asked_for_each):
    table = pd.read_csv(asked_for_each).rename(columns={"digit_4": "four"})
    table.to_csv(asked_for_each, index=False)
    told = "has 10 columns beside the id, digit_9, .*; one label was expected, or the 10 classes, 0, 1, 2, 3 ..."
    with pytest.raises(Problem, match=told):
        load(asked_for_each.parent)


@pytest.fixture
def odd_or_even(own_competition):
    """Writes a sample of one column for two classes, and tells the rules; the folder."""

    def told(column: str, cell: str, rules: str, classes: tuple[str, str] = ("0", "1")) -> Path:
        train = pd.read_csv(own_competition / "train.csv")
        train.assign(label=np.array(classes)[train["label"] % 2]).to_csv(own_competition / "train.csv", index=False)
        sample = pd.DataFrame({"id": np.arange(1, 201), column: cell})
        sample.to_csv(own_competition / "sample_submission.csv", index=False)
        (own_competition / FILE).write_text(rules)
        return own_competition

    return told


@pytest.mark.parametrize(
    ("cell", "rules"),
    [("0.5", ""), ("0", 'metric = "log loss"'), ("0", 'metric = "AUC"'), ("0", 'answer = "probabilities"')],
)
def test_of_two_classes_one_column_is_the_seconds_probability(cell, rules, odd_or_even, tmp_path):
    folder, target = odd_or_even("is_odd", cell, rules), tmp_path / "s.csv"
    said, sample = np.random.default_rng(0).dirichlet(np.ones(2), 200), asked(folder, named(read(folder).metric))
    dataset = load(folder)
    write(said, dataset, sample, target)
    assert pd.read_csv(target)["is_odd"].to_numpy() == pytest.approx(said[:, 1], rel=1e-5)
    assert check(target, sample, dataset.classes) == pytest.approx(said, abs=1e-5)


def test_a_column_named_after_the_first_class_has_its_probability(odd_or_even, tmp_path):
    folder, target = odd_or_even("even", "0.5", "", classes=("even", "odd")), tmp_path / "s.csv"
    said, sample = np.random.default_rng(0).dirichlet(np.ones(2), 200), Sample(folder / "sample_submission.csv")
    dataset = load(folder)
    write(said, dataset, sample, target)
    assert pd.read_csv(target)["even"].to_numpy() == pytest.approx(said[:, 0], rel=1e-5)
    assert check(target, sample, dataset.classes) == pytest.approx(said, abs=1e-5)


def test_who_is_quite_sure_stops_short_of_one(odd_or_even, tmp_path):
    folder, target = odd_or_even("odd", "0.5", ""), tmp_path / "s.csv"
    write(np.eye(2)[np.arange(200) % 2], load(folder), Sample(folder / "sample_submission.csv"), target)
    assert set(pd.read_csv(target)["odd"]) == {SMALLEST, 1 - SMALLEST}  # a wrong one would cost infinitely much


def test_labels_that_have_fractions_may_be_told_from_probabilities(odd_or_even, tmp_path):
    folder, target = odd_or_even("grade", "0.5", 'answer = "labels"', classes=("0.5", "1.5")), tmp_path / "s.csv"
    write(np.eye(2)[np.arange(200) % 2], load(folder), asked(folder, named("accuracy")), target)
    assert pd.read_csv(target)["grade"].tolist() == [0.5, 1.5] * 100


def test_one_column_is_too_few_for_the_probabilities_of_ten_classes(competition_folder, dataset, tmp_path):
    sample = asked(competition_folder, named("log loss"))
    told = "has one column for probabilities; 10 classes need a column each: 0, 1, 2"
    with pytest.raises(Problem, match=told):
        write(np.full((200, 10), 0.1), dataset, sample, tmp_path / "s.csv")


def test_ten_columns_are_too_many_for_a_label(asked_for_each, tmp_path):
    with pytest.raises(Problem, match=r"has 10 columns beside the id; labels, as competition\.toml has it, need one"):
        write(np.full((200, 10), 0.1), load(asked_for_each.parent), Sample(asked_for_each, "labels"), tmp_path / "s")


def test_the_id_may_be_called_otherwise_in_the_sample(own_competition, tmp_path):
    test = pd.read_csv(own_competition / "test.csv")
    ids = [f"image{row}" for row in range(200)]
    pd.concat([pd.Series(ids, name="picture"), test], axis=1).to_csv(own_competition / "test.csv", index=False)
    sample = pd.DataFrame({"id": ids[::-1], "label": 0})
    sample.to_csv(own_competition / "sample_submission.csv", index=False)
    (own_competition / "competition.toml").write_text('id = "picture"')
    dataset = load(own_competition)
    write(np.eye(10)[np.arange(200) % 10], dataset, Sample(own_competition / "sample_submission.csv"), tmp_path / "s")
    written = pd.read_csv(tmp_path / "s", index_col="id")["label"]
    assert written[ids].tolist() == [row % 10 for row in range(200)] and list(written.index) == ids[::-1]


@pytest.mark.parametrize(
    ("columns", "classes", "places"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["class_11", "class_1"], ["1", "11"], [1, 0]),
        (["c1", "c11", "c2"], ["1", "2", "11"], [0, 2, 1]),
        (["xa", "yb"], ["a", "b"], None),
        (["a", "a2"], ["a", "b"], None),
    ],
)
def test_columns_are_called_as_the_classes_are(columns, classes, places):
    if places:
        assert class_of(Path("sample.csv"), columns, np.array(classes)).tolist() == places
    else:
        with pytest.raises(Problem, match=r"sample\.csv has 2 columns beside the id"):
            class_of(Path("sample.csv"), columns, np.array(classes))


names = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12)


@st.composite
def written(draw):
    """Ids, classes and which class each id is given, whatever they are called."""
    ids = draw(st.lists(names, min_size=2, max_size=20, unique=True))
    classes = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    chosen = draw(st.lists(st.sampled_from(range(len(classes))), min_size=len(ids), max_size=len(ids)))
    return np.array(ids), np.array(sorted(classes)), np.array(chosen)


def put(drawn, dataset, folder):
    """The submission, its sample, and the classes."""
    ids, classes, chosen = drawn
    sample, target = Sample(folder / "sample_submission.csv"), folder / "submission.csv"
    pd.DataFrame({"id": ids, "label": "?"}).to_csv(sample.path, index=False)
    turned = np.argsort(ids)  # the rows of test.csv may lie in another order
    few = replace(dataset, classes=classes, test_ids=ids[turned])
    write(np.eye(len(classes))[chosen[turned]], few, sample, target)
    return target, sample, classes


@given(drawn=written())
def test_whatever_ids_and_classes_are_called_what_is_written_is_read(drawn, dataset, tmp_path):
    ids, classes, chosen = drawn
    target, *wanted = put(drawn, dataset, tmp_path)
    assert check(target, *wanted).argmax(axis=1).tolist() == chosen.tolist()
    table = text(target)
    assert table["id"].tolist() == ids.tolist() and table["label"].tolist() == classes[chosen].tolist()


ALTERED = {
    "another id": lambda table, row, text: table.assign(id=table["id"].where(table.index != row, text)),
    "another label": lambda table, row, text: table.assign(label=table["label"].where(table.index != row, text)),
    "a row less": lambda table, row, text: table.drop(index=row),
    "a row more": lambda table, row, text: pd.concat([table, table.iloc[[row]]]),
    "another order": lambda table, row, text: table.iloc[np.roll(table.index, row + 1)],
    "another name": lambda table, row, text: table.rename(columns={"label": text}),
}


@pytest.mark.parametrize("how", ALTERED)
@given(drawn=written(), at=st.integers(0, 19), other=names)
def test_whatever_is_altered_is_refused(how, drawn, at, other, dataset, tmp_path):
    ids, classes, _ = drawn
    target, sample, classes = put(drawn, dataset, tmp_path)
    table = text(target)
    altered = ALTERED[how](table, at % len(ids), other)
    assume(not altered.reset_index(drop=True).equals(table) and other not in classes)
    altered.to_csv(target, index=False)
    with pytest.raises(Problem):
        check(target, sample, classes)
