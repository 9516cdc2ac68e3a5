"""How long this machine takes to train a network."""

from dataclasses import replace

import pytest

from competition.crossval import speed
from competition.crossval.folds import make_folds
from competition.crossval.speed import measure_fold_seconds
from competition.crossval.store import Store
from competition.models.member import Member
from competition.workers.local import LocalWorkers


@pytest.fixture
def store(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "MEASURED_STEPS", 2)
    return Store(tmp_path, dataset, make_folds(dataset, 2, 0))


def test_the_estimate_is_for_all_steps_of_the_recipe(store, monkeypatch):
    quick = Member.parse("quick")
    monkeypatch.setattr(speed, "_time_step", lambda task, emit, dataset: 0.01)
    batches = 300 // 128
    epochs = -(-1000 // batches)
    seconds = measure_fold_seconds(quick, store, LocalWorkers(1, gpus=[]))
    assert seconds == pytest.approx(speed.OVERHEAD * batches * epochs * 0.01)


def test_a_training_that_fails_has_no_speed(store):
    quick = Member.parse("quick")
    diverging = replace(quick, recipe=replace(quick.recipe, peak_learning_rate=float("nan")))
    assert measure_fold_seconds(diverging, store, LocalWorkers(1, gpus=[])) is None


def test_steps_are_timed_in_workers(store):
    assert measure_fold_seconds(Member.parse("quick"), store, LocalWorkers(2, gpus=[])) > 0
