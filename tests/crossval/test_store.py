from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.crossval.curves import Point
from competition.crossval.folds import split
from competition.crossval.provenance import fingerprint, ingredients
from competition.crossval.store import Store
from competition.crossval.task import FoldResult
from competition.models.member import Member

MEMBER = Member.named("knn")


@pytest.fixture
def store(dataset, tmp_path) -> Store:
    return Store(tmp_path, dataset, split(dataset, 3, 0))


def result(store, fold, seed=0) -> FoldResult:
    random = np.random.default_rng([seed, fold])
    held_out = random.dirichlet(np.ones(10), int((store.folds.held_out == fold).sum()))
    test = random.dirichlet(np.ones(10), len(store.dataset.test_ids))
    made_of = ingredients(MEMBER, store.dataset, store.folds)
    return FoldResult(held_out, test, 1.5, b"model", ".skops", made_of)


def test_what_is_saved_comes_back_in_dataset_order(store):
    results = [result(store, fold) for fold in range(3)]
    for fold in (2, 0, 1):
        store.save(MEMBER, fold, results[fold])
    kept = store.predictions(MEMBER)
    for fold in range(3):
        assert np.allclose(kept.oof[store.folds.held_out == fold], results[fold].held_out)
        assert np.allclose(kept.test[fold], results[fold].test)
    assert kept.seconds == 4.5 and kept.fingerprint == fingerprint(result(store, 0).made_of)


def test_how_a_training_went_is_kept_beside_its_time(store):
    curve = [Point(epoch, 2, 0.5 / epoch, 100.0, 2**30, 0.9, 0.3, 0.8, 0.4) for epoch in (1, 2)]
    store.save(MEMBER, 0, result(store, 0), curve)
    store.save(MEMBER, 1, result(store, 1))
    assert store.curve(MEMBER, 0) == curve and store.curve(MEMBER, 1) == [] == store.curve(MEMBER, 2)


def test_rows_that_nothing_has_predicted_are_nan(store):
    store.save(MEMBER, 1, result(store, 1))
    kept = store.predictions(MEMBER)
    assert (np.isfinite(kept.oof).all(axis=1) == (store.folds.held_out == 1)).all()
    assert np.isnan(kept.test[0]).all() and np.isfinite(kept.test[1]).all()


def test_equal_results_are_equal_bytes(store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0))
    first = path.read_bytes()
    store.save(MEMBER, 0, replace(result(store, 0), seconds=99.0))
    assert path.read_bytes() == first


def test_a_finished_fold_is_finished_and_others_are_not(store):
    store.save(MEMBER, 0, result(store, 0))
    assert store.changed(MEMBER, 0) is None
    assert store.changed(MEMBER, 1) == "not trained yet"
    assert store.changed(Member.named("knn.1"), 0) == "not trained yet"


def test_other_ingredients_are_named_and_never_mixed_in(store, dataset):
    store.save(MEMBER, 0, result(store, 0))
    other_recipe = replace(MEMBER, recipe=replace(MEMBER.recipe, neighbours=3))
    assert store.changed(other_recipe, 0) == "made with another recipe"
    elsewhere = replace(store, dataset=replace(dataset, digest="another"))
    assert elsewhere.changed(MEMBER, 0) == "made with another data"
    assert np.isnan(elsewhere.predictions(MEMBER).oof).all()
    assert store.changed(replace(MEMBER, seed=7), 0) == "made with another seed"


def test_predictions_that_could_run_code_are_not_read(store, tmp_path):
    store.save(MEMBER, 0, result(store, 0))
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    np.savez(path, held_out=np.array([print], dtype=object), test=np.zeros(1), made_of="{}", checksum="")
    assert "allow_pickle=False" in store.changed(MEMBER, 0)


def test_a_damaged_file_is_noticed(store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0))
    whole = path.read_bytes()
    for position in range(200, len(whole), len(whole) // 40):
        flipped = bytearray(whole)
        flipped[position] ^= 16
        path.write_bytes(bytes(flipped))
        assert "is damaged" in store.changed(MEMBER, 0)
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "is damaged" in store.changed(MEMBER, 0)


@given(seed=st.integers(0, 2**32 - 1), position=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_no_flipped_byte_is_ever_read_as_a_prediction(seed, position, flipped, store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0, seed))
    saved = store.predictions(MEMBER)
    rows = store.folds.held_out == 0
    assert (saved.oof[rows] == result(store, 0, seed).held_out.astype(np.float32)).all()
    assert (saved.test[0] == result(store, 0, seed).test.astype(np.float32)).all()
    whole = bytearray(path.read_bytes())
    whole[int(position * len(whole))] ^= flipped
    path.write_bytes(whole)
    if store.changed(MEMBER, 0) is None:  # the byte was one of the archive's own, such as a date
        again = store.predictions(MEMBER)
        assert (again.oof[rows] == saved.oof[rows]).all() and (again.test[0] == saved.test[0]).all()
    else:
        assert np.isnan(store.predictions(MEMBER).oof).all()
