from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from competition.crossval import store as store_module
from competition.crossval.exchange import read_predictions, write_predictions
from competition.crossval.folds import load_or_make_folds
from competition.crossval.predictions import Predictions
from competition.crossval.run import pending_tasks
from competition.crossval.store import Store
from competition.ensemble.blend import blend
from competition.errors import UserError
from competition.models.interface import Target
from competition.models.member import Member


@pytest.fixture
def store(dataset, tmp_path):
    return Store(tmp_path / "folds", dataset, load_or_make_folds(dataset, tmp_path / "folds", 2, 0))


@pytest.fixture
def files(store, tmp_path):
    """Predictions that another toolkit made with our split, and their files."""
    random = np.random.default_rng(0)
    oof, test = random.dirichlet(np.ones(10), 600), random.dirichlet(np.ones(10), (2, 200))
    ours = Predictions("theirs", oof.astype(np.float32), test.astype(np.float32), 1.0, "")
    return ours, *write_predictions(ours, store.dataset, store.folds, tmp_path)


def test_exported_predictions_can_be_imported_as_a_member(store, files):
    ours, oof, test = files
    member = Member.parse("@theirs")
    store.import_predictions(member, list(read_predictions(oof, test, None, store.dataset, store.folds)))
    imported = store.predictions(member)
    assert imported.complete and not pending_tasks(store, [member])
    assert np.allclose(imported.oof, ours.oof, atol=1e-6) and np.allclose(
        imported.test, ours.test.mean(axis=0), atol=1e-6
    )
    blended = blend([imported], store.dataset.labels, store.folds.held_out, "mean")
    assert np.allclose(blended.test, ours.test.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_label_sets_and_numbers_are_exchanged_as_they_are(kind, label_dataset, number_dataset, tmp_path):
    dataset = label_dataset if kind == "labels" else number_dataset
    folds, outputs = load_or_make_folds(dataset, tmp_path, 2, 0), len(dataset.classes)
    oof, test = np.random.default_rng(0).random((600, outputs)), np.random.default_rng(1).random((2, 200, outputs))
    if kind == "number":
        oof, test = 5 - 10 * oof, 5 - 10 * test
    paths = write_predictions(Predictions("theirs", oof, test, 1.0, ""), dataset, folds, tmp_path)
    (first, mean), _ = read_predictions(*paths, None, dataset, folds)
    assert np.allclose(first, oof[folds.held_out == 0], atol=1e-5) and np.allclose(mean, test.mean(axis=0), atol=1e-5)
    paths = write_predictions(Predictions("theirs", 2 + oof, test, 1.0, ""), dataset, folds, tmp_path)
    if kind == "labels":
        with pytest.raises(UserError, match=r"oof\.csv, row 1: expected probabilities, found one above 1"):
            list(read_predictions(*paths, None, dataset, folds))


def test_predictions_of_a_competition_without_test_rows_are_exchanged(dataset, tmp_path):
    dataset = replace(dataset, test_ids=dataset.test_ids[:0])
    folds = load_or_make_folds(dataset, tmp_path, 2, 0)
    oof = np.random.default_rng(0).dirichlet(np.ones(10), 600)
    paths = write_predictions(Predictions("theirs", oof, np.empty((2, 0, 10)), 1.0, ""), dataset, folds, tmp_path)
    for fold, (held_out, test) in enumerate(read_predictions(*paths, None, dataset, folds)):
        assert np.allclose(held_out, oof[folds.held_out == fold], atol=1e-6) and test.shape == (0, 10)


def test_arrays_need_their_split(store, files, tmp_path):
    ours, _, test = files
    np.save(tmp_path / "oof.npy", ours.oof)
    split = store.folder / store.folds.name / "split.csv"
    (first, _), _ = read_predictions(tmp_path / "oof.npy", test, split, store.dataset, store.folds)
    assert np.allclose(first, ours.oof[store.folds.held_out == 0], atol=1e-6)
    with pytest.raises(UserError, match=r"has no column fold; set SPLIT=FILE to its split\.csv"):
        list(read_predictions(tmp_path / "oof.npy", test, None, store.dataset, store.folds))
    np.save(tmp_path / "few.npy", ours.oof[1:])
    with pytest.raises(UserError, match=r"has shape \(599, 10\); expected \(600, 10\)"):
        list(read_predictions(tmp_path / "few.npy", test, split, store.dataset, store.folds))


def test_pickled_arrays_are_rejected(store, files, tmp_path):
    _, _, test = files
    np.save(tmp_path / "oof.npy", np.array([print], dtype=object))
    with pytest.raises(UserError, match=r"is not an array of numbers .*allow_pickle=False"):
        list(read_predictions(tmp_path / "oof.npy", test, None, store.dataset, store.folds))


def write_huge_header(path):
    """Write a header that claims more numbers than fit into memory."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**50, 10)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def write_several_arrays(path):
    with path.open("wb") as file:
        np.savez(file, oof=np.zeros((600, 10)))


@pytest.mark.parametrize(
    "write",
    [
        write_several_arrays,
        lambda path: np.save(path, np.full((600, 10), "0.1")),
        lambda path: np.save(path, np.full((600, 10), 0.1j)),
        lambda path: np.save(path, np.zeros((600, 10), dtype="datetime64[s]")),
        lambda path: path.write_bytes(b""),
        write_huge_header,
    ],
    ids=["several arrays", "text", "complex numbers", "dates", "empty", "too large"],
)
def test_files_of_anything_but_an_array_of_numbers_are_rejected(write, store, files, tmp_path):
    write(tmp_path / "oof.npy")
    with pytest.raises(UserError, match=r"oof\.npy is not an array of numbers"):
        list(read_predictions(tmp_path / "oof.npy", files[2], None, store.dataset, store.folds))


def test_importing_other_predictions_changes_the_fingerprint(store, files):
    _, oof, test = files
    member = Member.parse("@theirs")
    predictions = list(read_predictions(oof, test, None, store.dataset, store.folds))
    store.import_predictions(member, predictions)
    before = store.fingerprint(member)
    store.import_predictions(member, [(held_out[:, ::-1], test) for held_out, test in predictions])
    assert store.fingerprint(member) != before


def swap_rows(table):
    table.iloc[[0, 1]] = table.iloc[[1, 0]]
    return table


def set_value(row, column, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap_rows, "row 1: expected id 1, found 2; keep the order"),
        (lambda table: table.iloc[1:], "has 599 rows; expected 600, one per row of train.csv"),
        (lambda table: table.drop(columns="7"), "has no column 7"),
        (
            lambda table: table.assign(fold=1 - table["fold"]),
            "row 1: expected fold [01], found [01]; it was made with a different split",
        ),
        (set_value(4, "3", "high"), "row 5: expected numbers"),
        (set_value(4, "3", -0.2), "row 5: expected probabilities, found a negative one"),
        (set_value(4, "3", 2.0), "row 5: probabilities sum to 2.9.*; expected 1"),
        (set_value(4, "fold", None), "row 5: expected fold [01]"),
    ],
)
def test_invalid_files_are_rejected_with_the_row(change, message, store, files):
    _, oof, test = files
    change(pd.read_csv(oof)).to_csv(oof, index=False)
    with pytest.raises(UserError, match=message):
        list(read_predictions(oof, test, None, store.dataset, store.folds))


def test_an_interrupted_import_does_not_mix_predictions(store, files, monkeypatch):
    _, oof, test = files
    member, predictions = Member.parse("@theirs"), list(read_predictions(oof, test, None, store.dataset, store.folds))
    store.import_predictions(member, predictions)
    write, calls = store_module.write_fold, []

    def write_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(store_module, "write_fold", write_once)
    with pytest.raises(KeyboardInterrupt):
        store.import_predictions(member, [(held_out[:, ::-1], test) for held_out, test in predictions])
    with pytest.raises(UserError, match="no predictions of @theirs match"):
        pending_tasks(store, [member])


def test_the_expected_columns_of_test_predictions_have_no_fold(store, files):
    _, oof, test = files
    pd.read_csv(test).drop(columns="7").to_csv(test, index=False)
    with pytest.raises(UserError, match=r"has no column 7; expected id and the classes 0, 1"):
        list(read_predictions(oof, test, None, store.dataset, store.folds))


def test_a_missing_import_is_reported_with_the_command(store):
    remedy = "import them: make import NAME=theirs OOF=FILE TEST=FILE COMPETITION=folds FOLDS=2"
    with pytest.raises(UserError, match=f"no predictions of @theirs match this data and split; {remedy}"):
        pending_tasks(store, [Member.parse("@theirs")])


def test_imported_predictions_have_no_model(store, files):
    _, oof, test = files
    member = Member.parse("@theirs")
    store.import_predictions(member, list(read_predictions(oof, test, None, store.dataset, store.folds)))
    with pytest.raises(UserError, match=r"@theirs was imported as predictions only and .*: make submit MODELS=\.\.\."):
        store.load_model(member, 0)
    with pytest.raises(UserError, match="@theirs was imported as predictions only"):
        member.spec.build(None, 0, (28, 28, 1), Target("class", 10))
