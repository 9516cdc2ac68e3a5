import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.crossval.folds import load_or_make_folds, make_folds
from competition.crossval.predictions import CurvePoint, fingerprint, load_predictions, read_fold
from competition.crossval.provenance import provenance_of
from competition.crossval.store import Store
from competition.crossval.task import FoldResult, Task, train_fold
from competition.errors import UserError
from competition.files import exclusive_lock
from competition.models.member import Member

MEMBER = Member.parse("knn")


@pytest.fixture
def store(dataset, tmp_path) -> Store:
    return Store(tmp_path, dataset, make_folds(dataset, 3, 0))


def result(store, fold, seed=0) -> FoldResult:
    random = np.random.default_rng([seed, fold])
    held_out = random.dirichlet(np.ones(10), int((store.folds.held_out == fold).sum()))
    test = random.dirichlet(np.ones(10), len(store.dataset.test_ids))
    provenance = provenance_of(MEMBER, store.dataset, store.folds)
    return FoldResult(held_out, test, 1.5, b"model", ".skops", provenance)


def test_saved_predictions_are_loaded_in_dataset_order(store):
    results = [result(store, fold) for fold in range(3)]
    for fold in (2, 0, 1):
        store.save(MEMBER, fold, results[fold])
    saved = store.predictions(MEMBER)
    for fold in range(3):
        assert np.allclose(saved.oof[store.folds.held_out == fold], results[fold].held_out)
        assert np.allclose(saved.test[fold], results[fold].test)
    assert saved.seconds == 4.5 and saved.fingerprint == fingerprint(result(store, 0).provenance)


def test_the_training_curve_is_saved_with_the_seconds(store):
    curve = [CurvePoint(epoch, 2, 0.5 / epoch, 100.0, 2**30, 0.9, 0.3, 0.8, 0.4) for epoch in (1, 2)]
    store.save(MEMBER, 0, result(store, 0), curve)
    store.save(MEMBER, 1, result(store, 1))
    assert store.curve(MEMBER, 0) == curve and store.curve(MEMBER, 1) == [] == store.curve(MEMBER, 2)


def test_a_trained_member_is_loaded_without_its_data_set(store, tmp_path):
    load_or_make_folds(store.dataset, tmp_path, 3, 0)
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold))
    loaded, saved = load_predictions(tmp_path / store.folds.name / "knn"), store.predictions(MEMBER)
    assert (loaded.oof == saved.oof).all() and (loaded.test == saved.test).all()
    assert vars(replace(loaded, oof=None, test=None)) == vars(replace(saved, oof=None, test=None))

    names = np.array([f"image #{row}, cropped.png" for row in range(len(store.dataset.train_ids))])
    renamed = replace(store.dataset, train_ids=names)
    split = tmp_path / store.folds.name / "split.csv"
    split.unlink()
    load_or_make_folds(renamed, tmp_path, 3, 0)
    assert "#12, cropped.png" in split.read_text()
    assert (load_predictions(split.parent / "knn").oof == saved.oof).all()


def test_trainings_on_all_rows_are_shared_by_all_splits(dataset, tmp_path):
    stores = [
        Store(tmp_path / "letters", dataset, make_folds(dataset, count, seed)) for count, seed in ((3, 0), (4, 7))
    ]
    first, second = (store.refits(2) for store in stores)
    provenance = provenance_of(MEMBER, dataset, first.folds)
    test = np.full((len(dataset.test_ids), 10), 0.1)
    first.save(MEMBER, 0, FoldResult(np.empty((0, 10)), test, 1.5, b"model", ".skops", provenance))
    assert second.reason_to_train(MEMBER, 0) is None and np.isfinite(second.predictions(MEMBER).test).all()
    assert stores[0].reason_to_train(MEMBER, 0) and first.differing_provenance(
        MEMBER, provenance_of(MEMBER, dataset, stores[0].folds)
    ) == ["split"]


def test_only_networks_are_trained_on_all_rows_more_than_once(store):
    counts = {name: len(store.refits(4).tasks(Member.parse(name))) for name in ("knn", "svm", "mlp", "quick.1")}
    assert counts == {"knn": 1, "svm": 1, "mlp": 4, "quick.1": 4}


def test_a_missing_model_of_all_rows_is_trained_again_by_reproducing_its_submission(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 7)).refits(5)
    remedy = "run `make reproduce NUMBER=... COMPETITION=letters`"
    with pytest.raises(UserError, match=re.escape(f"mlp on all rows (2) is not trained; {remedy}")):
        store.load_model(Member.parse("mlp"), 1)


def test_an_untrained_fold_is_reported_with_the_command_of_its_split(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 7))
    remedy = "run `make cv MODELS=knn COMPETITION=letters FOLDS=3 SEED=7`"
    with pytest.raises(UserError, match=f"knn fold 1 is not trained; {remedy}"):
        store.load_model(MEMBER, 1)


@pytest.mark.parametrize("name", ["boosting", "logistic"])
def test_members_of_columns_cannot_predict_new_images(name, store):
    member = Member.parse(name)
    error = (
        f"{name} learns from columns alongside the images and cannot predict new images; make a submission without it"
    )
    with pytest.raises(UserError, match=f"{error}: make submit MODELS=\\.\\.\\."):
        store.load_model(member, 0)
    with pytest.raises(UserError, match=f"{error}: make submit MODELS='knn mlp'"):
        store.require_image_models([Member.parse("knn"), member, Member.parse("mlp")])
    store.require_image_models([Member.parse("knn")])


def test_rows_without_a_prediction_are_nan(store):
    store.save(MEMBER, 1, result(store, 1))
    saved = store.predictions(MEMBER)
    assert (np.isfinite(saved.oof).all(axis=1) == (store.folds.held_out == 1)).all()
    assert np.isnan(saved.test[0]).all() and np.isfinite(saved.test[1]).all()


def test_equal_results_are_written_as_equal_bytes(store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0))
    first = path.read_bytes()
    store.save(MEMBER, 0, replace(result(store, 0), seconds=99.0))
    assert path.read_bytes() == first


def test_only_unfinished_folds_have_to_be_trained(store):
    store.save(MEMBER, 0, result(store, 0))
    assert store.reason_to_train(MEMBER, 0) is None
    assert store.reason_to_train(MEMBER, 1) == "not trained yet"
    assert store.reason_to_train(Member.parse("knn.1"), 0) == "not trained yet"


def test_predictions_of_another_provenance_are_reported_and_not_used(store, dataset):
    store.save(MEMBER, 0, result(store, 0))
    other_recipe = replace(MEMBER, recipe=replace(MEMBER.recipe, n_neighbors=3))
    assert store.reason_to_train(other_recipe, 0) == "made with different recipe"
    elsewhere = replace(store, dataset=replace(dataset, digest="another"))
    assert elsewhere.reason_to_train(MEMBER, 0) == "made with different data"
    assert np.isnan(elsewhere.predictions(MEMBER).oof).all()
    assert store.reason_to_train(replace(MEMBER, seed=7), 0) == "made with different seed"


def test_pickled_objects_are_not_loaded(store, tmp_path):
    store.save(MEMBER, 0, result(store, 0))
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    np.savez(path, held_out=np.array([print], dtype=object), test=np.zeros(1), made_of="{}", checksum="")
    assert "allow_pickle=False" in store.reason_to_train(MEMBER, 0)


def test_a_damaged_file_is_detected(store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0))
    whole = path.read_bytes()
    saved = result(store, 0)
    for array in (saved.held_out, saved.test):
        content = array.astype(np.float32).tobytes()
        start = whole.index(content)
        for position in range(start, start + len(content), len(content) // 20):
            flipped = bytearray(whole)
            flipped[position] ^= 16
            path.write_bytes(bytes(flipped))
            assert "is damaged" in store.reason_to_train(MEMBER, 0)
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "is damaged" in store.reason_to_train(MEMBER, 0)


@given(seed=st.integers(0, 2**32 - 1), position=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_a_flipped_byte_never_changes_a_prediction(seed, position, flipped, store, tmp_path):
    path = tmp_path / store.folds.name / "knn" / "fold-0.npz"
    store.save(MEMBER, 0, result(store, 0, seed))
    saved = store.predictions(MEMBER)
    rows = store.folds.held_out == 0
    assert (saved.oof[rows] == result(store, 0, seed).held_out.astype(np.float32)).all()
    assert (saved.test[0] == result(store, 0, seed).test.astype(np.float32)).all()
    whole = bytearray(path.read_bytes())
    whole[int(position * len(whole))] ^= flipped
    path.write_bytes(whole)
    if store.reason_to_train(MEMBER, 0) is None:  # the byte was metadata of the archive, such as a date
        reloaded = store.predictions(MEMBER)
        assert (reloaded.oof[rows] == saved.oof[rows]).all() and (reloaded.test[0] == saved.test[0]).all()
    else:
        assert np.isnan(store.predictions(MEMBER).oof).all()


def test_a_run_that_dies_while_it_saves_leaves_no_older_predictions_with_a_newer_model(store):
    store.save(MEMBER, 0, result(store, 0))
    with pytest.raises(TypeError):
        store.save(MEMBER, 0, replace(result(store, 0, seed=1), model=None))  # as if it was killed when it writes it
    assert store.reason_to_train(MEMBER, 0) == "not trained yet"


def test_a_member_that_is_imported_again_as_a_table_has_no_models(store, tmp_path):
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold))
    member = store.import_folds(tmp_path / store.folds.name / "knn", "theirs")
    store.require_image_models([member])
    assert store.model_path(member, 2).read_bytes() == b"model"
    store.import_predictions(member, [(result(store, fold).held_out, result(store, fold).test) for fold in range(3)])
    with pytest.raises(UserError, match="@theirs was imported as predictions only and cannot predict new images"):
        store.require_image_models([member])
    files = sorted(path.name for path in (tmp_path / store.folds.name / "@theirs").iterdir())
    assert files == [f"fold-{fold}.npz" for fold in range(3)]


def test_an_imported_member_whose_first_fold_is_lost_has_to_be_imported_again(store, tmp_path):
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold))
    member = store.import_folds(tmp_path / store.folds.name / "knn", "theirs")
    (tmp_path / store.folds.name / "@theirs" / "fold-0.npz").unlink()
    with pytest.raises(UserError, match=r"@theirs are incomplete \(not trained yet\); import them again"):
        store.load_model(member, 1)


def test_predictions_are_not_imported_while_another_run_uses_the_split(store, tmp_path):
    store.save(MEMBER, 0, result(store, 0))
    tables = [(result(store, fold).held_out, result(store, fold).test) for fold in range(3)]
    with exclusive_lock(tmp_path / store.folds.name), pytest.raises(UserError, match="is in use by another run"):
        store.import_predictions(Member.parse("@theirs"), tables)
    assert store.reason_to_train(Member.parse("@theirs"), 0) == "not trained yet"
    store.import_predictions(Member.parse("@theirs"), tables)
    assert store.predictions(Member.parse("@theirs")).complete


def ignore(epoch):
    pass


@pytest.mark.parametrize("data", ["dataset", "number_dataset"])
def test_a_saved_model_predicts_what_it_predicted_when_it_was_trained(data, request, tmp_path):
    dataset = request.getfixturevalue(data)
    store = Store(tmp_path, dataset, make_folds(dataset, 3, 0))
    trained = train_fold(Task(MEMBER, 1), dataset, store.folds, ignore)
    store.save(MEMBER, 1, trained)
    assert np.allclose(store.load_model(MEMBER, 1).predict_proba(dataset.test_images), trained.test)


def test_a_damaged_model_is_reported_with_the_commands_that_train_it_again(store, tmp_path):
    store.save(MEMBER, 1, result(store, 1))
    with pytest.raises(UserError) as error:
        store.load_model(MEMBER, 1)
    path = tmp_path / store.folds.name / "knn" / "fold-1"
    start, remedy = f"cannot load {path}.skops (", store.command("cv", models="knn")
    assert str(error.value).startswith(start) and "\n" not in str(error.value)
    assert str(error.value).endswith(f"); if it is damaged, train it again: rm {path}.npz && {remedy}")
    assert "BadZipFile: File is not a zip file" in str(error.value)


def test_a_missing_model_is_reported_with_the_commands_that_train_it_again(store, tmp_path):
    store.save(MEMBER, 1, result(store, 1))
    path = tmp_path / store.folds.name / "knn" / "fold-1"
    path.with_suffix(".skops").unlink()
    remedy = f"train it again: rm {path}.npz && {store.command('cv', models='knn')}"
    with pytest.raises(UserError, match=re.escape(f"the model of knn fold 1 is missing in {path.parent}; {remedy}")):
        store.load_model(MEMBER, 1)


def test_an_imported_model_that_cannot_be_loaded_is_not_to_be_deleted(store, tmp_path):
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold))
    member = store.import_folds(tmp_path / store.folds.name / "knn", "theirs")
    with pytest.raises(
        UserError, match=r"cannot load .*; if it is damaged, import @theirs again, or make a submission without it$"
    ):
        store.load_model(member, 1)


def test_a_model_without_predictions_is_not_used(store, tmp_path):
    store.save(MEMBER, 0, result(store, 0))
    (tmp_path / store.folds.name / "knn" / "fold-0.npz").unlink()
    with pytest.raises(UserError, match="knn fold 0 is not trained"):
        store.model_path(MEMBER, 0)


def test_commands_of_models_on_all_rows_name_their_split_and_their_number(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 7))
    assert store.command("cv", models="knn") == "make cv MODELS=knn COMPETITION=letters FOLDS=3 SEED=7"
    refits = store.refits(4).command("submit", models="knn")
    assert refits == "make submit MODELS=knn REFIT=4 COMPETITION=letters FOLDS=3 SEED=7"


def predictions_of(store, seed=0):
    return [(result(store, fold, seed).held_out, result(store, fold, seed).test) for fold in range(store.folds.count)]


def test_the_fingerprint_of_an_imported_member_is_that_of_its_predictions(store):
    member = Member.parse("@theirs")
    prints = [store.fingerprint(member)]
    for seed in (0, 1, 0):
        store.import_predictions(member, predictions_of(store, seed))
        prints.append(store.fingerprint(member))
    assert prints[1] == prints[3] and len(set(prints)) == 3
    assert store.fingerprint(MEMBER) == fingerprint(provenance_of(MEMBER, store.dataset, store.folds))


def test_the_digest_of_imported_predictions_is_that_of_their_bytes(store, tmp_path):
    member, tables = Member.parse("@theirs"), predictions_of(store)
    store.import_predictions(member, tables)
    content = b"".join(part.tobytes() for both in tables for part in both)
    saved = read_fold(tmp_path / store.folds.name / "@theirs" / "fold-2.npz").provenance
    assert saved["imported"] == hashlib.sha256(content).hexdigest()


def test_imported_models_are_loaded_by_the_member_that_they_were_elsewhere(store, tmp_path):
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold), [CurvePoint(1, 1, 0.5, 9.0, 2**30, 0.9, 0.3, 0.8, 0.4)])
    member = store.import_folds(tmp_path / store.folds.name / "knn", "theirs")
    assert store.trained_as(member) == MEMBER and store.trained_as(MEMBER) == MEMBER
    assert store.seconds(member, 2) == 1.5 and store.curve(member, 1) == store.curve(MEMBER, 1) != []
    metadata = [(tmp_path / store.folds.name / name / "fold-1.json").read_bytes() for name in ("knn", "@theirs")]
    assert metadata[0] == metadata[1]
    store.import_predictions(Member.parse("@table"), predictions_of(store))
    assert store.trained_as(Member.parse("@table")) == Member.parse("@table")


def test_only_folds_of_the_same_data_and_split_are_imported(store, dataset, tmp_path):
    for fold in range(3):
        store.save(MEMBER, fold, result(store, fold))
    source = tmp_path / store.folds.name / "knn"
    path = source / "fold-0.npz"
    other_data = replace(store, dataset=replace(dataset, digest="another"))
    other_split = replace(store, folds=make_folds(dataset, 3, 1))
    other_rows = replace(store, dataset=replace(dataset, test_ids=dataset.test_ids[:-1]))
    competition = dataset.cache.parent.parent
    for target, message in (
        (other_data, f"{path} was made with different data"),
        (other_split, f"{path} was made with different split"),
        (other_rows, f"{path} has other rows or classes than {competition}"),
    ):
        with pytest.raises(UserError) as error:
            target.import_folds(source, "theirs")
        assert str(error.value) == message
    (source / "fold-1.npz").write_bytes(b"")
    with pytest.raises(UserError) as error:
        store.import_folds(source, "theirs")
    assert str(error.value).startswith(f"{source / 'fold-1.npz'} is missing or damaged (")
    assert not (tmp_path / store.folds.name / "@theirs").exists()


def test_the_curves_of_all_saved_folds_are_listed_by_member(store):
    curve = [CurvePoint(1, 1, 0.5, 9.0, 2**30, 0.9, 0.3, 0.8, 0.4)]
    store.save(Member.parse("mlp"), 2, result(store, 2), curve)
    for fold in (1, 0):
        store.save(MEMBER, fold, result(store, fold))
    assert list(store.curves()) == [("knn", 0, []), ("knn", 1, []), ("mlp", 2, curve)]


def test_the_estimated_training_time_grows_with_the_number_of_rows(dataset, tmp_path):
    two, five = (Store(tmp_path, dataset, make_folds(dataset, count, 0)) for count in (2, 5))
    mlp = Member.parse("mlp")
    assert 0 < two.reference_seconds(mlp) < five.reference_seconds(mlp)
    assert two.reference_seconds(mlp) == mlp.training_seconds(len(dataset.labels) / 2, (16, 16, 1))
