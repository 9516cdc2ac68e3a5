from dataclasses import replace

import numpy as np

from competition.crossval.folds import make_folds
from competition.crossval.task import Task
from competition.models.member import Member
from competition.tuning.trials import BLOCKS, TrialFold, TrialFoldResult, mean_loss, run_trial_fold, stratified_sample

KNN = Member.parse("knn")


def ignore_emitted(payload):
    pass


def test_only_held_out_rows_are_scored(dataset):
    folds = make_folds(dataset, 3, 0)
    without_test = replace(dataset, test_images=None)
    labels = np.where(folds.held_out == 1, (dataset.labels + 1) % 10, dataset.labels)
    result = run_trial_fold(TrialFold(Task(KNN, 1), 0, 1.0), ignore_emitted, without_test, folds)
    mislabelled = run_trial_fold(
        TrialFold(Task(KNN, 1), 0, 1.0), ignore_emitted, replace(without_test, labels=labels), folds
    )
    rows = int((folds.held_out == 1).sum())
    assert len(result.losses) == BLOCKS and result.rows == rows
    assert result.wrong < 0.1 * rows and mislabelled.wrong > 0.9 * rows  # held-out labels are not trained on


def test_label_sets_and_numbers_are_scored_by_their_loss(label_dataset, number_dataset):
    for dataset, chance in ((label_dataset, np.log(2)), (number_dataset, number_dataset.labels.var())):
        folds = make_folds(dataset, 3, 0)
        result = run_trial_fold(TrialFold(Task(KNN, 1), 0, 0.7), ignore_emitted, dataset, folds)
        assert len(result.losses) == BLOCKS and np.mean(result.losses) < 0.5 * chance
        assert (result.wrong is None) == (dataset is number_dataset)


def test_training_on_a_share_of_the_rows_is_worse(dataset):
    folds = make_folds(dataset, 3, 0)
    few, all_rows = (
        run_trial_fold(TrialFold(Task(KNN, 0), 0, share), ignore_emitted, dataset, folds) for share in (0.3, 1.0)
    )
    assert few.wrong > all_rows.wrong and np.mean(few.losses) > np.mean(all_rows.losses)


def test_temperatures_are_cross_fitted(dataset):
    folds = make_folds(dataset, 3, 0)
    labels = dataset.labels.copy()
    even = np.flatnonzero(folds.held_out == 1)[::2]
    labels[even] = (labels[even] + 1) % 10  # never predicted, so a temperature fitted to them is very high
    clean, corrupted = (
        run_trial_fold(TrialFold(Task(KNN, 1), 0, 1.0), ignore_emitted, replace(dataset, labels=given), folds)
        for given in (dataset.labels, labels)
    )
    # The other half is predicted as before, but its temperature comes from the corrupted half: its loss is log 10.
    assert np.mean(clean.losses) < 0.5
    assert np.mean(corrupted.losses) > 2 * np.log(10) * 0.9, corrupted.losses


def test_a_share_is_stratified(dataset):
    labels = np.where(np.arange(len(dataset.labels)) < 590, dataset.labels, 10)  # a rare class of ten rows
    rows = np.flatnonzero(np.arange(len(labels)) % 3 > 0)
    sample = stratified_sample(rows, labels, 0.2, seed=0)
    assert set(labels[sample]) == set(labels[rows]) and set(sample) <= set(rows)
    assert abs(len(sample) - 0.2 * len(rows)) <= len(set(labels)) + 2


def test_a_small_share_has_enough_rows_of_each_class_for_calibration(dataset):
    sample = stratified_sample(np.arange(100), dataset.labels, 0.05, seed=0)
    assert np.bincount(dataset.labels[sample]).tolist() == [3] * 10


def test_folds_with_fewer_rows_than_blocks_count_by_their_blocks():
    results = [TrialFoldResult(losses, 0, len(losses), 1.0) for losses in ((1.0, 2.0), (3.0,))]
    assert mean_loss(results) == 2
