import os
import warnings
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
from competition.tuning.storage import hide_password, open_storage
from competition.tuning.study import Study
from competition.tuning.trials import BLOCKS, fold_results

KNN = Member.parse("knn")


def test_trials_that_are_not_comparable_are_in_different_studies(study, study_context):
    dataset, names = study_context.dataset, {study.name}
    for member, folds, share in (
        (KNN, make_folds(dataset, 3, 1), 0.5),
        (KNN, make_folds(dataset, 3, 0), 1.0),
        (Member.parse("knn.1"), make_folds(dataset, 3, 0), 0.5),
        (Member.parse("svm"), make_folds(dataset, 3, 0), 0.5),
    ):
        names.add(Study(study_context, member, folds, share).name)
    limited = replace(study_context, config=Config(limits={"rotation": 0}))
    names.add(Study(limited, KNN, make_folds(dataset, 3, 0), 0.5).name)
    assert len(names) == 6
    tuned = replace(KNN, recipe=replace_hyperparameters(KNN.recipe, {"n_neighbors": 9}))
    assert Study(study_context, tuned, make_folds(dataset, 3, 0), 0.5).name == study.name


def start_trial(study):
    """Start a trial like a driver that dies at once: without a heartbeat."""
    with warnings.catch_warnings(action="ignore"):
        return study.optuna_study.ask()


def test_hyperparameters_that_two_drivers_enqueue_at_once_are_tried_once(study):
    study.optuna_study.enqueue_trial(study.current)  # as by a second driver
    first, second = study.ask(), study.ask()
    assert first.params == study.current and second is None
    assert [trial.number for trial in study.trials] == [first.number]
    assert not study.requeue_stale_trials(), "a duplicate must not be repeated"


def test_concurrent_drivers_sample_differently(study, study_context, monkeypatch):
    samples = set()
    for process in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        other = Study(study_context, KNN, study.folds, 0.5)
        other.ask()  # the current defaults
        samples.add(str(other.ask().params))
    assert len(samples) == 2


def finish_fold(trial):
    trial.set_user_attr("fold-0", {"losses": [0.1] * BLOCKS, "wrong": 1, "rows": 200, "seconds": 777.0})


def test_a_requeued_trial_keeps_its_hyperparameters_and_finished_folds(study):
    study.ask()  # the current defaults
    sampled = study.ask()
    finish_fold(sampled)
    study.requeue(sampled.number)
    again = study.ask()
    assert again.params == sampled.params and fold_results(again)[0].seconds == 777
    assert [trial.number for trial in study.trials] == [0, again.number]


def test_a_trial_is_requeued_once_even_if_two_drivers_do_so(study):
    trial = study.ask()
    study.requeue(trial.number)
    study.requeue(trial.number)
    assert not study.requeue_stale_trials()
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]


def test_a_trial_whose_driver_died_while_requeueing_it_is_enqueued(study, study_context):
    lost = study.ask()
    finish_fold(lost)
    study.tell(lost.number, TrialState.FAIL)  # but it was not enqueued
    again = Study(study_context, KNN, study.folds, 0.5).ask()
    assert again.params == lost.params and fold_results(again)[0].seconds == 777


def test_a_trial_whose_driver_died_before_its_hyperparameters_were_sampled_keeps_enqueued_ones(study):
    trial = start_trial(study)  # the current defaults, none of them suggested yet
    assert trial.params == {}
    study.requeue(trial.number)
    assert study.ask().params == study.current


def test_values_outside_the_search_space_are_requeued(study_context):
    member = replace(KNN, recipe=replace_hyperparameters(KNN.recipe, {"n_neighbors": 5_000}))
    study = Study(study_context, member, make_folds(study_context.dataset, 3, 0), 0.5)
    trial = study.ask()
    assert trial.params["n_neighbors"] == 5_000
    study.requeue(trial.number)
    assert study.ask().params == trial.params


def test_an_ended_trial_cannot_be_ended_again(study):
    trial = study.ask()
    study.end(trial.number, TrialState.PRUNED)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.end(trial.number, TrialState.FAIL)
    study.requeue(trial.number)
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED]


def test_an_unavailable_storage_is_a_user_error(tmp_path):
    unavailable = open_storage("postgresql+psycopg://nobody:secret@127.0.0.1:1/none", tmp_path)
    with (
        pytest.raises(UserError, match=r"cannot open the study database postgresql.*nobody:\*\*\*@") as error,
        unavailable,
    ):
        pass
    assert "secret" not in str(error.value)


def test_passwords_are_hidden_even_in_invalid_urls():
    assert hide_password("postgresql+psycopg://me:secret@host/db") == "postgresql+psycopg://me:***@host/db"
    assert hide_password("postgresql:/me:secret@host/db") == "postgresql:/me:***@host/db"
    assert hide_password("sqlite:///studies.db") == "sqlite:///studies.db"


def test_fold_seconds_are_measured_once_a_fold_is_finished(study):
    assert study.fold_seconds() == study.default_fold_seconds()
    finish_fold(study.ask())
    assert study.fold_seconds() == 777 and study.trial_seconds() == 3 * 777
    assert np.isclose(study.remaining_trials(5), 4)
