from dataclasses import replace

import numpy as np

from competition.folds import split
from competition.models import Member
from competition.task import Task
from competition.trials import BLOCKS, Examination, examine

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
