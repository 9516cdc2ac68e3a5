import subprocess
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from competition.crossval.folds import make_folds
from competition.data.config import Config
from competition.errors import UserError
from competition.models.hyperparameters import replace_hyperparameters
from competition.models.member import Member
from competition.models.registry import available_models
from competition.tuning import study as study_module
from competition.tuning.storage import open_storage
from competition.tuning.study import Study
from competition.tuning.trials import BLOCKS, TrialFoldResult, fold_results
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers

KNN = Member.parse("knn")


@pytest.fixture
def storage(tmp_path):
    with open_storage(None, tmp_path) as storage:
        yield storage


@pytest.fixture
def study(dataset, storage):
    return Study("digits8", KNN, dataset, make_folds(dataset, 3, 0), 0.5, storage)


def run_study(study, total):
    return list(study.run(LocalWorkers(2), total, ignore_event))


def test_a_study_starts_with_the_current_defaults_and_stops_at_the_total(study):
    trials = run_study(study, 4)
    assert len(trials) == len(study.trials) == 4
    assert study.complete_trial(study.current) is not None
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    best = study.complete_trials[0]
    assert best.value == pytest.approx(np.mean([result.losses for result in fold_results(best).values()]))


def test_a_resumed_study_keeps_finished_trials_and_repeats_none(study, dataset, storage):
    before = {trial.number: trial.value for trial in run_study(study, 3)}
    resumed = Study("digits8", KNN, dataset, make_folds(dataset, 3, 0), 0.5, storage)
    assert {trial.number for trial in run_study(resumed, 5)} == {3, 4}
    assert {trial.number: trial.value for trial in resumed.trials if trial.number in before} == before
    assert len({str(sorted(trial.params.items())) for trial in resumed.trials}) == 5
    assert run_study(resumed, 5) == []


def test_trials_that_are_not_comparable_are_in_different_studies(study, dataset, storage):
    names = {study.name}
    for member, folds, share in (
        (KNN, make_folds(dataset, 3, 1), 0.5),
        (KNN, make_folds(dataset, 3, 0), 1.0),
        (Member.parse("knn.1"), make_folds(dataset, 3, 0), 0.5),
        (Member.parse("svm"), make_folds(dataset, 3, 0), 0.5),
    ):
        names.add(Study("digits8", member, dataset, folds, share, storage).name)
    assert len(names) == 5
    tuned = replace(KNN, recipe=replace_hyperparameters(KNN.recipe, {"n_neighbors": 9}))
    assert Study("digits8", tuned, dataset, make_folds(dataset, 3, 0), 0.5, storage).name == study.name


def orphan(study, until, host="other-host"):
    """A trial of another driver with one finished fold."""
    trial = study.ask({"host": host, "pid": 1, "until": until})
    trial.set_user_attr("fold-0", {"losses": [0.1] * BLOCKS, "wrong": 1, "rows": 200, "seconds": 777.0})
    return trial


def test_a_trial_with_an_expired_lease_is_requeued_with_its_finished_folds(study):
    lost = orphan(study, until=time.time() - study_module.MAX_CLOCK_SKEW - 1)
    (again, other) = run_study(study, 2)
    again = again if again.params == lost.params else other
    assert again.params == lost.params
    assert fold_results(again)[0] == TrialFoldResult((0.1,) * BLOCKS, 1, 200, 777.0)
    assert len(study.trials) == 2


@pytest.mark.slow
def test_a_trial_with_a_valid_lease_is_waited_for(study, monkeypatch):
    monkeypatch.setattr(study_module, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(study_module, "LEASE_SECONDS", 3.0)
    held = orphan(study, until=time.time() - 60)  # its clock may be slow, so it may be alive
    start = time.time()
    trials = run_study(study, 2)
    assert time.time() - start > 2.5
    assert sorted(trial.params == held.params for trial in trials) == [False, True]


def test_a_trial_whose_process_is_gone_is_not_waited_for(study):
    process = subprocess.Popen(["true"])
    process.wait()
    lost = study.ask({"host": study_module.HOST, "pid": process.pid, "until": time.time() + 100})
    start = time.monotonic()
    assert lost.params in [trial.params for trial in run_study(study, 2)] and time.monotonic() - start < 60


def test_a_trial_whose_driver_died_before_its_hyperparameters_were_sampled_is_requeued(study):
    asked = study.optuna_study.ask()  # its driver died before it sampled any hyperparameter
    asked.set_user_attr("lease", {"host": "other-host", "pid": 1, "until": 0.0})
    (trial,) = run_study(study, 1)
    assert trial.params == study.current and trial.number != asked.number


def test_a_trial_whose_driver_died_while_requeueing_it_is_enqueued(study, dataset, storage):
    lost = orphan(study, until=0.0)
    lost.set_user_attr("requeued", True)
    study.tell(lost.number, None, TrialState.FAIL)  # but did not enqueue it
    resumed = Study("digits8", KNN, dataset, make_folds(dataset, 3, 0), 0.5, storage)
    (trial,) = run_study(resumed, 1)
    assert trial.params == lost.params and fold_results(trial)[0].seconds == 777


def test_hyperparameters_that_two_drivers_dequeue_at_once_are_tried_once(study, monkeypatch):
    ask = study.optuna_study.ask

    def ask_twice():
        trial = ask()
        if trial.number == 0:  # SQLite may give a trial to both
            study.optuna_study.enqueue_trial(study.current)
        return trial

    monkeypatch.setattr(study.optuna_study, "ask", ask_twice)
    trials = run_study(study, 2)
    assert len(trials) == 2 and sum(trial.params == study.current for trial in trials) == 1


def test_concurrent_drivers_sample_differently(dataset, storage, monkeypatch):
    samples = set()
    for process in (11, 12):
        monkeypatch.setattr(study_module.os, "getpid", lambda process=process: process)
        study = Study("digits8", KNN, dataset, make_folds(dataset, 3, 0), 0.5, storage)
        samples.add(study.optuna_study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"])
    assert len(samples) == 2


def test_augmentation_is_limited_by_the_config(dataset, storage):
    lenet = Member.parse("lenet")
    folds = make_folds(dataset, 3, 0)
    study = Study("digits8", lenet, dataset, folds, 0.5, storage, config=Config(limits={"rotation": 0}))
    driver = study_module._Driver(study, 3, lambda seconds: True)
    for _ in range(3):
        running = driver._start_trial()
        assert running.member.recipe.augmentation.rotation == 0
        assert running.member.recipe.peak_learning_rate == running.trial.params["peak_learning_rate"]
    assert study.name != Study("digits8", lenet, dataset, folds, 0.5, storage).name


@pytest.mark.slow
def test_a_trial_without_a_lease_is_not_waited_for_long(study, monkeypatch):
    monkeypatch.setattr(study_module, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(study_module, "UNLEASED_SECONDS", 0.5)
    study.optuna_study.ask()  # its driver died before it could write a lease
    start = time.monotonic()
    assert len(run_study(study, 2)) == 2
    assert time.monotonic() - start < 60
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]


def test_a_trial_that_got_its_lease_too_late_is_left_to_other_drivers(study, monkeypatch):
    ask = study.optuna_study.ask
    late = []

    def ask_slowly(*args):
        trial = ask(*args)
        if not late:
            late.append(trial.number)
            study.requeue(study.optuna_study.get_trials()[trial.number])
        return trial

    monkeypatch.setattr(study.optuna_study, "ask", ask_slowly)
    trials = run_study(study, 2)
    assert late and late[0] not in {trial.number for trial in trials}
    assert len(study.trials) == 2


def test_a_failed_trial_is_reported_and_counted(dataset, storage):
    study = Study(
        "digits8",
        replace(KNN, recipe=replace(KNN.recipe, n_neighbors=0)),
        dataset,
        make_folds(dataset, 3, 0),
        1,
        storage,
    )
    (failed,) = run_study(study, 1)
    assert failed.state == TrialState.FAIL and "n_neighbors" in failed.user_attrs["failure"]
    assert study.remaining_trials(1) == 0


@pytest.mark.slow
def test_a_lease_far_in_the_future_is_not_waited_for(study):
    lost = orphan(study, until=time.time() + 86_400)
    start = time.monotonic()
    assert lost.params in [trial.params for trial in run_study(study, 2)]
    assert time.monotonic() - start < 60


def test_an_unavailable_storage_is_a_user_error(tmp_path):
    unavailable = open_storage("postgresql+psycopg://nobody@127.0.0.1:1/none", tmp_path)
    with pytest.raises(UserError, match="cannot open the storage"), unavailable:
        pass


def test_the_current_defaults_are_never_pruned(dataset, storage):
    class AlwaysPrune(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    study = Study("digits8", KNN, dataset, make_folds(dataset, 3, 0), 0.5, storage, AlwaysPrune())
    states = {trial.params == study.current: trial.state for trial in run_study(study, 2)}
    assert states == {True: TrialState.COMPLETE, False: TrialState.PRUNED}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*available_models(), "knn:pixels", "lenet:tutorial", "svm:pixels", "vgg:rmsprop"])
def test_every_model_can_be_tuned(name, dataset, storage):
    member = Member.parse(name)
    if member.spec.is_network:
        member = replace(member, recipe=replace(member.recipe, epochs=1, min_steps=0))
    study = Study("digits8", member, dataset, make_folds(dataset, 2, 0), 0.5, storage)
    states = [trial.state for trial in run_study(study, 2)]
    assert states == [TrialState.COMPLETE] * 2
