import multiprocessing
import time
import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from competition.crossval.folds import make_folds
from competition.data.config import Config
from competition.models.member import Member
from competition.models.registry import available_models, load_spec
from competition.tuning import driver as driver_module
from competition.tuning import storage as storage_module
from competition.tuning.driver import run_trials
from competition.tuning.storage import open_storage
from competition.tuning.study import Study, StudyContext
from competition.tuning.trials import BLOCKS, TrialFoldResult, fold_results
from competition.workers.base import Workers
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

KNN = Member.parse("knn")


def run(study, total):
    return list(run_trials(study, LocalWorkers(2), total, ignore_event))


def test_a_study_starts_with_the_current_defaults_and_stops_at_the_total(study):
    trials = run(study, 4)
    assert len(trials) == len(study.trials) == 4
    assert study.complete_trial(study.current) is not None
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    best = study.complete_trials[0]
    assert best.value == pytest.approx(np.mean([result.losses for result in fold_results(best).values()]))


@pytest.mark.integration
def test_a_resumed_study_keeps_finished_trials_and_repeats_none(study, study_context):
    before = {trial.number: trial.value for trial in run(study, 3)}
    resumed = Study(study_context, KNN, study.folds, 0.5)
    assert {trial.number for trial in run(resumed, 5)} == {3, 4}
    assert {trial.number: trial.value for trial in resumed.trials if trial.number in before} == before
    assert len({str(sorted(trial.params.items())) for trial in resumed.trials}) == 5
    assert run(resumed, 5) == []


@pytest.fixture
def fast_heartbeats(monkeypatch):
    """A driver without a heartbeat for two seconds is assumed dead; databases count whole seconds."""
    monkeypatch.setattr(storage_module, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage_module, "STALE_SECONDS", 2)
    monkeypatch.setattr(driver_module, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(driver_module, "POLL_SECONDS", 0.1)


@pytest.mark.integration
def test_trials_of_a_dead_driver_are_requeued_with_their_finished_folds(fast_heartbeats, study):
    lost = study.ask()
    lost.set_user_attr("fold-0", {"losses": [0.1] * BLOCKS, "wrong": 1, "rows": 200, "seconds": 777.0})
    trials = {str(trial.params): trial for trial in run(study, 2)}
    again = trials[str(lost.params)]
    assert fold_results(again)[0] == TrialFoldResult((0.1,) * BLOCKS, 1, 200, 777.0)
    assert len(trials) == len(study.trials) == 2


def test_a_requeued_trial_whose_folds_are_all_finished_is_returned(fast_heartbeats, study):
    lost = study.ask()
    for fold in range(study.folds.count):
        lost.set_user_attr(f"fold-{fold}", {"losses": [0.1] * BLOCKS, "wrong": 1, "rows": 200, "seconds": 1.0})
    (trial,) = run(study, 1)
    assert trial.params == lost.params and trial.value == pytest.approx(0.1)


def test_a_trial_whose_driver_died_before_its_first_heartbeat_is_requeued(fast_heartbeats, study):
    with warnings.catch_warnings(action="ignore"):
        lost = study.optuna_study.ask()
    trials = run(study, 2)
    assert len(trials) == 2 and lost.number not in {trial.number for trial in trials}
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


@pytest.mark.integration
def test_a_trial_that_was_requeued_while_it_started_is_left_to_other_drivers(study, monkeypatch):
    ask, requeued = study.optuna_study.ask, []

    def ask_slowly(*arguments):
        trial = ask(*arguments)
        if not requeued:
            requeued.append(trial.number)
            study.requeue(trial.number)
        return trial

    monkeypatch.setattr(study.optuna_study, "ask", ask_slowly)
    trials = run(study, 2)
    assert requeued and requeued[0] not in {trial.number for trial in trials}
    assert len(study.trials) == 2


@pytest.mark.integration
def test_a_trial_that_was_requeued_before_its_finished_folds_were_reported_is_left_to_other_drivers(study, monkeypatch):
    requeued = []

    def requeue_first(trial):
        finished = fold_results(trial)
        if not requeued:
            requeued.append(trial.number)
            study.requeue(trial.number)
            finished = {0: TrialFoldResult((0.1,) * BLOCKS, 1, 200, 1.0)}
        return finished

    monkeypatch.setattr(driver_module, "fold_results", requeue_first)
    trials = run(study, 2)
    assert requeued and requeued[0] not in {trial.number for trial in trials}
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


class SlowWorkers(Workers):
    """Run each fold for three seconds longer than another driver waits for a heartbeat."""

    def __init__(self):
        self.workers = LocalWorkers(1)

    jobs = 1

    def open_pool(self, function):
        raise NotImplementedError

    def run(self, function, take, on_event):
        for task, outcome in self.workers.run(function, take, on_event):
            time.sleep(5)
            yield task, outcome


def drive_slowly(folder, dataset):
    storage_module.HEARTBEAT_SECONDS = driver_module.HEARTBEAT_SECONDS = 1
    storage_module.STALE_SECONDS = 2
    with open_storage(None, folder) as storage:
        study = Study(StudyContext("digits8", Config(), dataset, storage), KNN, make_folds(dataset, 3, 0), 0.5)
        list(run_trials(study, SlowWorkers(), 1, ignore_event))


@pytest.mark.slow
def test_a_trial_of_a_slow_driver_is_waited_for(fast_heartbeats, dataset, tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=drive_slowly, args=(tmp_path, dataset))
    process.start()
    with open_storage(None, tmp_path) as storage:
        study = Study(StudyContext("digits8", Config(), dataset, storage), KNN, make_folds(dataset, 3, 0), 0.5)
        while not [trial for trial in study.trials if trial.state == TrialState.RUNNING]:
            assert process.is_alive()
            time.sleep(0.1)
        assert len(run(study, 2)) == 1
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    process.join()
    assert process.exitcode == 0


@pytest.mark.integration
def test_a_stopped_driver_requeues_its_trials(study):
    trials = run_trials(study, LocalWorkers(2), 4, ignore_event)
    next(trials)
    trials.close()
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}
    assert len(run(study, 4)) == 3


def test_no_worker_is_asked_for_when_no_trial_is_left(study):
    for total, has_time in ((0, True), (3, False)):
        driver = driver_module._Driver(study, total, lambda seconds, has_time=has_time: has_time)
        assert driver.take(lambda task: pytest.fail("asks whether a fold fits a worker")) is None


def test_augmentation_is_limited_by_the_config(study_context):
    lenet = Member.parse("lenet")
    limited = replace(study_context, config=Config(limits={"rotation": 0}))
    study = Study(limited, lenet, make_folds(study_context.dataset, 3, 0), 0.5)
    driver = driver_module._Driver(study, 3, lambda seconds: True)
    for _ in range(3):
        recipe = driver.take(lambda task: True).task.member.recipe
        driver.active.clear()
        assert recipe.augmentation.rotation == 0
        assert recipe.peak_learning_rate == study.frozen_trial(len(study.trials) - 1).params["peak_learning_rate"]


def test_a_failed_trial_is_reported_and_counted(study_context):
    member = replace(KNN, recipe=replace(KNN.recipe, n_neighbors=0))
    study = Study(study_context, member, make_folds(study_context.dataset, 3, 0), 1)
    (failed,) = run(study, 1)
    assert failed.state == TrialState.FAIL and "n_neighbors" in failed.user_attrs["failure"]
    assert study.remaining_trials(1) == 0


def test_the_current_defaults_are_never_pruned(study_context):
    class AlwaysPrune(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    study = Study(study_context, KNN, make_folds(study_context.dataset, 3, 0), 0.5, AlwaysPrune())
    states = {trial.params == study.current: trial.state for trial in run(study, 2)}
    assert states == {True: TrialState.COMPLETE, False: TrialState.PRUNED}


# Features would be extracted and weights downloaded first.
SPECS = {name: load_spec(name) for name in available_models()}
TUNED = [name for name, spec in SPECS.items() if spec.inputs != "features" and not spec.is_fine_tuned]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TUNED, "knn:pixels", "lenet:tutorial", "svm:pixels", "vgg:rmsprop"])
def test_every_model_can_be_tuned(name, study_context, dataset_with_columns):
    member = Member.parse(name)
    study_context = replace(study_context, dataset=dataset_with_columns)
    if member.spec.is_network:
        member = replace(member, recipe=replace(member.recipe, epochs=1, min_steps=0))
    study = Study(study_context, member, make_folds(study_context.dataset, 2, 0), 0.5)
    states = [trial.state for trial in run(study, 2)]
    assert states == [TrialState.COMPLETE] * 2
