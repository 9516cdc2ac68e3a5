from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from competition.data import load
from competition.problem import Problem
from competition.submission import check, write


@pytest.fixture
def probabilities(dataset):
    return np.random.default_rng(0).dirichlet(np.ones(10), len(dataset.test_ids))


def test_it_follows_the_sample_to_the_letter(competition_folder, dataset, probabilities, tmp_path):
    sample, target = competition_folder / "sample_submission.csv", tmp_path / "submission.csv"
    write(probabilities, dataset, sample, target)
    written, asked = target.read_bytes(), sample.read_bytes()
    assert written.count(b"\n") == asked.count(b"\n") and b"\r" not in written
    assert written.splitlines()[0] == asked.splitlines()[0] == b"ImageId,Label"
    assert [line.split(b",")[0] for line in written.splitlines()] == [x.split(b",")[0] for x in asked.splitlines()]
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
    write(probabilities, dataset, own_competition / "sample_submission.csv", tmp_path / "s.csv")
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
    write(np.eye(10)[np.full(200, 3)], dataset, own_competition / "sample_submission.csv", tmp_path / "s.csv")
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
    sample, target = competition_folder / "sample_submission.csv", tmp_path / "submission.csv"
    write(probabilities, dataset, sample, target)
    spoil, message = BROKEN[defect]
    spoil(pd.read_csv(target, dtype=object)).to_csv(target, index=False)
    with pytest.raises(Problem, match=message):
        check(target, sample, dataset.classes)


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
    sample, target = folder / "sample_submission.csv", folder / "submission.csv"
    pd.DataFrame({"id": ids, "label": "?"}).to_csv(sample, index=False)
    turned = np.argsort(ids)  # the rows of test.csv may lie in another order
    few = replace(dataset, classes=classes, test_ids=ids[turned])
    write(np.eye(len(classes))[chosen[turned]], few, sample, target)
    return target, sample, classes


@given(drawn=written())
def test_whatever_ids_and_classes_are_called_what_is_written_is_read(drawn, dataset, tmp_path):
    ids, classes, chosen = drawn
    table = check(*put(drawn, dataset, tmp_path))
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
@given(drawn=written(), at=st.integers(0, 19), text=names)
def test_whatever_is_altered_is_refused(how, drawn, at, text, dataset, tmp_path):
    ids, classes, _ = drawn
    target, sample, classes = put(drawn, dataset, tmp_path)
    table = check(target, sample, classes)
    altered = ALTERED[how](table, at % len(ids), text)
    assume(not altered.reset_index(drop=True).equals(table) and text not in classes)
    altered.to_csv(target, index=False)
    with pytest.raises(Problem):
        check(target, sample, classes)
