import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from competition.crossval.curves import CurveRecorder
from competition.crossval.folds import Folds, all_rows, make_folds
from competition.crossval.store import Store
from competition.crossval.task import Task, check_predictions, train_fold
from competition.models.member import Member
from competition.scoring.metrics import LOG_LOSS, RMSE


def ignore_epoch(epoch):
    pass


def test_a_task_predicts_the_held_out_and_the_test_rows(dataset):
    folds = make_folds(dataset, 4, 0)
    result = train_fold(Task(Member.parse("knn"), 2), dataset, folds, ignore_epoch)
    assert result.held_out.shape == ((folds.held_out == 2).sum(), 10)
    assert result.test.shape == (len(dataset.test_ids), 10)
    assert result.suffix == ".skops" and len(result.model) > 1_000


@pytest.mark.parametrize("name", ["knn", "mlp"])
def test_a_training_on_all_rows_knows_every_row(name, dataset):
    memorized = replace(dataset, test_images=dataset.images, test_ids=dataset.train_ids)
    labels = np.random.default_rng(0).permutation(dataset.labels)  # which cannot be predicted without knowing the row
    recorder = CurveRecorder(dataset, np.zeros(len(labels), dtype=bool))
    task = Task(Member.parse(name), 1, uses_all_rows=True)
    recipe = replace(task.member.recipe, epochs=2) if name == "mlp" else replace(task.member.recipe, n_neighbors=1)
    task = replace(task, member=replace(task.member, recipe=recipe))
    result = train_fold(task, replace(memorized, labels=labels), all_rows(dataset, 2), recorder.record)
    assert result.held_out.shape == (0, 10) and result.test.shape == (len(labels), 10)
    assert name != "knn" or (result.test.argmax(axis=1) == labels).mean() > 0.95
    assert all(point.held_out_log_loss is None and point.train_log_loss > 0 for point in recorder.points)
    assert task.name == f"{name} on all rows (2)"


def test_training_a_network_does_not_load_all_images_into_memory(dataset):
    times, wide = 10, (4, 4)  # enough pixels to measure
    images, test_images = (
        np.kron(array[..., 0], np.ones((1, *wide), np.uint8))[..., None]
        for array in (np.tile(dataset.images, (times, 1, 1, 1)), dataset.test_images)
    )
    labels = np.tile(dataset.labels, times)
    large = replace(dataset, images=images, test_images=test_images, labels=labels)
    member = Member.parse("mlp")
    task = Task(replace(member, recipe=replace(member.recipe, epochs=1)), 0)
    folds = Folds(np.arange(len(labels)) % 2, 2, 0, "")
    train_fold(task, large, folds, ignore_epoch)  # memory that Keras needs once
    tracemalloc.start()
    train_fold(task, large, folds, ignore_epoch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 3, (peak, images.nbytes)


def test_held_out_labels_change_nothing(dataset):
    folds = make_folds(dataset, 4, 0)
    wrong_labels = dataset.labels.copy()
    wrong_labels[folds.held_out == 1] = 0
    for name in ("knn", "mlp"):
        task = Task(Member.parse(name), 1)
        expected = train_fold(task, dataset, folds, ignore_epoch)
        actual = train_fold(task, replace(dataset, labels=wrong_labels), folds, ignore_epoch)
        assert (expected.held_out == actual.held_out).all() and (expected.test == actual.test).all()


def test_test_images_change_only_their_own_predictions(dataset):
    folds = make_folds(dataset, 4, 0)
    task = Task(Member.parse("mlp"), 0)
    fewer = replace(dataset, test_images=dataset.test_images[:50])
    whole, part = train_fold(task, dataset, folds, ignore_epoch), train_fold(task, fewer, folds, ignore_epoch)
    assert (whole.held_out == part.held_out).all()
    assert np.allclose(whole.test[:50], part.test, atol=1e-6)


def test_each_fold_and_seed_has_its_own_random_stream(dataset):
    folds = make_folds(dataset, 2, 0)
    swapped = replace(folds, held_out=np.zeros_like(folds.held_out))  # the same rows, other fold numbers
    swapped.held_out[folds.held_out == 0] = 1
    first = train_fold(Task(Member.parse("mlp"), 0), dataset, folds, ignore_epoch)
    second = train_fold(Task(Member.parse("mlp"), 1), dataset, swapped, ignore_epoch)
    third = train_fold(Task(Member.parse("mlp.1"), 0), dataset, folds, ignore_epoch)
    assert (first.test != second.test).any() and (first.test != third.test).any()


BOOSTING, LOGISTIC = Member.parse("boosting"), Member.parse("logistic")
COLUMN_MEMBERS = [replace(BOOSTING, recipe=replace(BOOSTING.recipe, max_iter=10, learning_rate=0.3)), LOGISTIC]


@pytest.mark.parametrize("member", COLUMN_MEMBERS, ids=lambda member: member.name)
def test_members_of_columns_do_not_see_the_images(member, dataset_with_columns):
    folds = make_folds(dataset_with_columns, 3, 0)
    task = Task(member, 0)
    blank = replace(
        dataset_with_columns,
        images=np.zeros_like(dataset_with_columns.images),
        test_images=np.zeros_like(dataset_with_columns.test_images),
    )
    result, without_images = (train_fold(task, rows, folds, ignore_epoch) for rows in (dataset_with_columns, blank))
    labels = dataset_with_columns.labels[folds.held_out == 0]
    assert (result.held_out.argmax(axis=1) == labels).mean() > 0.8
    assert result.test.shape == (len(dataset_with_columns.test_ids), 10)
    assert (result.held_out == without_images.held_out).all() and (result.test == without_images.test).all()


@pytest.mark.parametrize("member", COLUMN_MEMBERS, ids=lambda member: member.name)
def test_held_out_columns_and_labels_change_nothing_but_their_own_predictions(member, dataset_with_columns):
    folds = make_folds(dataset_with_columns, 3, 0)
    held_out = folds.held_out == 0
    columns, labels = dataset_with_columns.columns.copy(), dataset_with_columns.labels.copy()
    columns[held_out], labels[held_out] = 1e6, 0  # would move medians, means and deviations
    columns[np.flatnonzero(held_out)[0]] = dataset_with_columns.columns[held_out][0]
    other = replace(dataset_with_columns, columns=columns, labels=labels)
    task = Task(member, 0)
    expected, actual = (train_fold(task, rows, folds, ignore_epoch) for rows in (dataset_with_columns, other))
    assert (expected.test == actual.test).all()
    assert np.allclose(expected.held_out[0], actual.held_out[0], atol=1e-9)
    assert not np.allclose(expected.held_out[1:], actual.held_out[1:])


@pytest.mark.parametrize("invalid", [[0.5, np.nan], [1.5, -0.5], [0.4, 0.4]])
def test_invalid_probabilities_are_rejected(invalid):
    with pytest.raises(FloatingPointError, match="returned invalid probabilities"):
        check_predictions(np.array([[0.5, 0.5], invalid]), "class")


def test_predictions_are_checked_by_the_kind_of_target():
    independent, numbers = np.array([[0.9, 0.9], [0.1, 0.0]]), np.array([[-3.5], [7.0]])
    assert (check_predictions(independent, "labels") == independent).all()
    assert (check_predictions(numbers, "number") == numbers).all()
    for kind, invalid in (("class", independent), ("labels", numbers), ("number", np.array([[np.inf]]))):
        with pytest.raises(FloatingPointError, match=r"returned invalid (numbers|probabilities) \(NaN"):
            check_predictions(invalid, kind)


@pytest.mark.parametrize("name", ["knn", "mlp"])
def test_label_sets_and_numbers_are_trained_scored_and_loaded_again(name, label_dataset, number_dataset, tmp_path):
    for data, metric, limit in (
        (label_dataset, LOG_LOSS, 0.45),
        (number_dataset, RMSE, 0.9 * number_dataset.labels.std()),
    ):
        folds, member = make_folds(data, 2, 0), Member.parse(name)
        store, points = Store(tmp_path / data.digest, data, folds), []
        for fold in range(2):
            recorder = CurveRecorder(data, folds.held_out == fold)
            result = train_fold(Task(member, fold), data, folds, recorder.record)
            store.save(member, fold, result, recorder.points)
            points += recorder.points
        predictions = store.predictions(member)
        assert predictions.complete and predictions.oof.shape == (len(data.labels), len(data.classes))
        assert predictions.test.shape == (2, len(data.test_ids), len(data.classes))
        assert metric.score(data.labels, predictions.oof).value < limit
        assert predictions.curves == [store.curve(member, fold) for fold in range(2)]
        assert all((point.held_out_accuracy is None) == (data is number_dataset) for point in points)
        loaded = store.load_model(member, 1).predict_proba(data.images[folds.held_out == 1])
        assert np.allclose(loaded, predictions.oof[folds.held_out == 1], atol=1e-5)
