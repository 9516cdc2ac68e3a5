from dataclasses import replace

import numpy as np

from competition.crossval.folds import split
from competition.crossval.task import Task
from competition.models.member import Member
from competition.tuning.trials import BLOCKS, Examination, _share, examine

KNN = Member.named("knn")


def deaf(*said):
    pass


def test_evidence_is_of_held_out_rows_alone(dataset):
    folds = split(dataset, 3, 0)
    blind = replace(dataset, test_images=None)
    labels = np.where(folds.held_out == 1, (dataset.labels + 1) % 10, dataset.labels)
    found = examine(Examination(Task(KNN, 1), 0, 1.0), deaf, blind, folds)
    lied_to = examine(Examination(Task(KNN, 1), 0, 1.0), deaf, replace(blind, labels=labels), folds)
    rows = int((folds.held_out == 1).sum())
    assert len(found.losses) == BLOCKS and found.rows == rows
    assert found.wrong < 0.1 * rows and lied_to.wrong > 0.9 * rows  # it did not learn the lies it was held out from


def test_a_share_of_the_rows_is_cheaper_and_worse(dataset):
    folds = split(dataset, 3, 0)
    few, all_rows = (examine(Examination(Task(KNN, 0), 0, share), deaf, dataset, folds) for share in (0.3, 1.0))
    assert few.wrong > all_rows.wrong and np.mean(few.losses) > np.mean(all_rows.losses)


def test_no_row_is_scored_at_a_temperature_that_it_helped_to_fit(dataset):
    folds = split(dataset, 3, 0)
    labels = dataset.labels.copy()
    even = np.flatnonzero(folds.held_out == 1)[::2]
    labels[even] = (labels[even] + 1) % 10  # nobody predicts them now, so whoever is fitted to them trusts in nothing
    honest, spoilt = (
        examine(Examination(Task(KNN, 1), 0, 1.0), deaf, replace(dataset, labels=one), folds)
        for one in (dataset.labels, labels)
    )
    # The others are right as before, and are scored at the temperature of the spoilt half: as if nobody knew anything.
    assert np.mean(honest.losses) < 0.5
    assert np.mean(spoilt.losses) > 2 * np.log(10) * 0.9, spoilt.losses


def test_a_share_has_every_class(dataset):
    labels = np.where(np.arange(len(dataset.labels)) < 590, dataset.labels, 10)  # ten rows of a rare one
    rows = np.flatnonzero(np.arange(len(labels)) % 3 > 0)
    some = _share(rows, labels, 0.2, seed=0)
    assert set(labels[some]) == set(labels[rows]) and set(some) <= set(rows)
    assert abs(len(some) - 0.2 * len(rows)) <= len(set(labels))
