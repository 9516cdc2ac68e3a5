"""How long the workers take to train a network."""

from dataclasses import replace

import numpy as np
import pytest

from competition.crossval import training_speed
from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.crossval.training_speed import TrainingSpeed, measure_speed
from competition.data.augmentation import Augmentation
from competition.models.interface import Epoch
from competition.models.member import Member
from competition.workers.events import Failure
from competition.workers.local import LocalWorkers

QUICK = Member.parse("quick")
# Without a comparison of augmentations.
DECIDED = replace(QUICK, recipe=replace(QUICK.recipe, augmentation=Augmentation(symmetries=(), strength=1.0)))


@pytest.fixture
def store(dataset, tmp_path):
    return Store(tmp_path, dataset, make_folds(dataset, 2, 0))


def test_a_fold_takes_its_start_and_all_steps_of_the_recipe(store):
    batches = 300 // 128
    steps = batches * -(-1000 // batches)
    expected = 5 + 0.01 * steps * (1 + training_speed.PREDICTION_SHARE)
    assert TrainingSpeed(5, 0.01).fold_seconds(DECIDED, store) == pytest.approx(expected)


def test_the_comparison_of_augmentations_takes_time_where_there_is_one(store):
    added = [
        TrainingSpeed(0, step).fold_seconds(QUICK, store) - TrainingSpeed(0, step).fold_seconds(DECIDED, store)
        for step in (0.01, 10)
    ]
    assert added == pytest.approx([0.01 * training_speed.COMPARISON_STEPS, training_speed.MAX_COMPARISON_SECONDS])


def test_the_step_is_that_of_the_second_epoch_and_the_rest_is_the_start(dataset, monkeypatch):
    trained = []

    def train(task, dataset, rows, on_epoch):
        trained.append((task.member.recipe, np.flatnonzero(rows)))
        for epoch, images_per_second in ((1, 100.0), (2, 128.0)):
            on_epoch(Epoch(epoch, 2, 0.5, images_per_second, lambda images: images))

    monkeypatch.setattr(training_speed, "train_member", train)
    measured = training_speed._time_steps(Task(QUICK, 0), lambda payload: None, dataset)
    assert measured.step == pytest.approx(1.0) and measured.start == 0
    recipe, rows = trained[0]
    assert (recipe.epochs, recipe.augmentation.strength) == (2, 1.0) and rows[-1] == len(dataset.labels) - 1


def test_a_training_that_fails_has_no_speed(store):
    diverging = replace(QUICK, recipe=replace(QUICK.recipe, peak_learning_rate=float("nan")))
    failure = measure_speed(diverging, store, LocalWorkers(1, gpus=[]))
    assert isinstance(failure, Failure) and "training diverged" in failure.reason


def test_steps_are_timed_in_workers(store):
    measured = measure_speed(QUICK, store, LocalWorkers(1, gpus=[]))
    assert 0 < measured.step < 1 and 0 < measured.start < 60
