import numpy as np
import pandas as pd
import pytest

from competition.crossval.exchange import read, write
from competition.crossval.folds import frozen
from competition.crossval.predictions import Predictions
from competition.crossval.run import unfinished
from competition.crossval.store import Store
from competition.ensemble.blend import blend
from competition.errors import Problem
from competition.models.member import Member


@pytest.fixture
def store(dataset, tmp_path):
    return Store(tmp_path / "folds", dataset, frozen(dataset, tmp_path / "folds", 2, 0))


@pytest.fixture
def files(store, tmp_path):
    """What another toolkit, given our split, would hand over."""
    random = np.random.default_rng(0)
    oof, test = random.dirichlet(np.ones(10), 600), random.dirichlet(np.ones(10), (2, 200))
    ours = Predictions("theirs", oof.astype(np.float32), test.astype(np.float32), 1.0, "")
    return ours, *write(ours, store.dataset, store.folds, tmp_path)


def test_what_is_exported_comes_back_as_a_member(store, files):
    ours, oof, test = files
    member = Member.named("@theirs")
    store.take_in(member, list(read(oof, test, None, store.dataset, store.folds)))
    back = store.predictions(member)
    assert back.complete and not unfinished(store, [member])
    assert np.allclose(back.oof, ours.oof, atol=1e-6) and np.allclose(back.test, ours.test.mean(axis=0), atol=1e-6)
    blended = blend([back], store.dataset.labels, store.folds.held_out, "mean")
    assert np.allclose(blended.test, ours.test.mean(axis=0), atol=1e-6)


def test_arrays_come_with_their_split(store, files, tmp_path):
    ours, _, test = files
    np.save(tmp_path / "oof.npy", ours.oof)
    split = store.folder / store.folds.name / "split.csv"
    (first, _), _ = read(tmp_path / "oof.npy", test, split, store.dataset, store.folds)
    assert np.allclose(first, ours.oof[store.folds.held_out == 0], atol=1e-6)
    with pytest.raises(Problem, match="does not say which fold held out which row; add --split"):
        list(read(tmp_path / "oof.npy", test, None, store.dataset, store.folds))
    np.save(tmp_path / "few.npy", ours.oof[1:])
    with pytest.raises(Problem, match=r"has the shape \(599, 10\); asked for is \(600, 10\)"):
        list(read(tmp_path / "few.npy", test, split, store.dataset, store.folds))


def test_arrays_that_could_run_code_are_refused(store, files, tmp_path):
    _, _, test = files
    np.save(tmp_path / "oof.npy", np.array([print], dtype=object))
    with pytest.raises(Problem, match=r"is no array of numbers .*allow_pickle=False"):
        list(read(tmp_path / "oof.npy", test, None, store.dataset, store.folds))


def test_other_predictions_of_the_same_name_have_another_fingerprint(store, files):
    _, oof, test = files
    member = Member.named("@theirs")
    given = list(read(oof, test, None, store.dataset, store.folds))
    store.take_in(member, given)
    before = store.fingerprint(member)
    store.take_in(member, [(held_out[:, ::-1], of_test) for held_out, of_test in given])
    assert store.fingerprint(member) != before


def permuted(table):
    table.iloc[[0, 1]] = table.iloc[[1, 0]]
    return table


def valued(row, column, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (permuted, "row 1 has the id 2 where 1 is due: is it in another order"),
        (lambda table: table.iloc[1:], "has 599 rows; 600 are asked for"),
        (lambda table: table.drop(columns="7"), "lacks the column 7"),
        (lambda table: table.assign(fold=1 - table["fold"]), "was made with another split: it holds row 1 out in fold"),
        (valued(4, "3", "high"), "row 5 has a value that is no number"),
        (valued(4, "3", -0.2), "row 5 has a negative probability"),
        (valued(4, "3", 2.0), "row 5 does not sum to 1"),
        (valued(4, "fold", None), "row 5 has no fold"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change, message, store, files):
    _, oof, test = files
    change(pd.read_csv(oof)).to_csv(oof, index=False)
    with pytest.raises(Problem, match=message):
        list(read(oof, test, None, store.dataset, store.folds))


def test_an_import_that_is_killed_does_not_mix_two_predictors(store, files, monkeypatch):
    _, oof, test = files
    member, given = Member.named("@theirs"), list(read(oof, test, None, store.dataset, store.folds))
    store.take_in(member, given)
    write, calls = store._write, []

    def killed(*what):
        calls.append(what)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*what)

    monkeypatch.setattr(Store, "_write", staticmethod(killed))
    with pytest.raises(KeyboardInterrupt):
        store.take_in(member, [(held_out[:, ::-1], said) for held_out, said in given])
    with pytest.raises(Problem, match="@theirs is not imported"):
        unfinished(store, [member])


def test_a_member_that_is_not_imported_is_told_with_the_command(store):
    with pytest.raises(Problem, match="@theirs is not imported for 2-folds-seed-0; run `python -m competition import"):
        unfinished(store, [Member.named("@theirs")])
