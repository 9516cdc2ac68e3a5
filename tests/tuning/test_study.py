import subprocess
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from competition.crossval.folds import split
from competition.data.config import Rules
from competition.errors import Problem
from competition.models.hyperparameters import with_settings
from competition.models.member import Member
from competition.models.registry import available
from competition.tuning import study as tuning
from competition.tuning.storage import open_storage
from competition.tuning.study import Study
from competition.tuning.trials import BLOCKS, Evidence, evidence_of
from competition.workers.local import LocalWorkers

KNN = Member.named("knn")


@pytest.fixture
def storage(tmp_path):
    with open_storage(None, tmp_path) as storage:
        yield storage


@pytest.fixture
def study(dataset, storage):
    return Study("digits8", KNN, dataset, split(dataset, 3, 0), 0.5, storage)


def deaf(*said):
    pass


def finished(study, total):
    return list(study.run(LocalWorkers(2), total, deaf))


def test_a_search_begins_with_the_present_settings_and_ends_with_the_total(study):
    trials = finished(study, 4)
    assert len(trials) == len(study.trials) == 4
    assert study.of(study.present) is not None
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    best = study.complete[0]
    assert best.value == pytest.approx(np.mean([one.losses for one in evidence_of(best).values()]))


def test_going_on_keeps_what_is_finished_and_repeats_none(study, dataset, storage):
    before = {trial.number: trial.value for trial in finished(study, 3)}
    again = Study("digits8", KNN, dataset, split(dataset, 3, 0), 0.5, storage)
    assert {trial.number for trial in finished(again, 5)} == {3, 4}
    assert {trial.number: trial.value for trial in again.trials if trial.number in before} == before
    assert len({str(sorted(trial.params.items())) for trial in again.trials}) == 5
    assert finished(again, 5) == []


def test_trials_that_are_not_comparable_lie_in_other_studies(study, dataset, storage):
    names = {study.name}
    for member, folds, share in (
        (KNN, split(dataset, 3, 1), 0.5),
        (KNN, split(dataset, 3, 0), 1.0),
        (Member.named("knn.1"), split(dataset, 3, 0), 0.5),
        (Member.named("svm"), split(dataset, 3, 0), 0.5),
    ):
        names.add(Study("digits8", member, dataset, folds, share, storage).name)
    assert len(names) == 5
    adopted = replace(KNN, recipe=with_settings(KNN.recipe, {"neighbours": 9}))
    assert Study("digits8", adopted, dataset, split(dataset, 3, 0), 0.5, storage).name == study.name


def left_behind(study, until, host="elsewhere"):
    """A trial of another driver, one fold of it done."""
    trial = study.ask({"host": host, "pid": 1, "until": until})
    trial.set_user_attr("fold-0", {"losses": [0.1] * BLOCKS, "wrong": 1, "rows": 200, "seconds": 777.0})
    return trial


def test_a_trial_whose_lease_ran_out_is_asked_again_with_the_folds_it_has(study):
    lost = left_behind(study, until=time.time() - tuning.SKEW - 1)
    (again, other) = finished(study, 2)
    again = again if again.params == lost.params else other
    assert again.params == lost.params
    assert evidence_of(again)[0] == Evidence((0.1,) * BLOCKS, 1, 200, 777.0)
    assert len(study.trials) == 2


@pytest.mark.slow
def test_a_trial_that_another_driver_holds_is_waited_for(study, monkeypatch):
    monkeypatch.setattr(tuning, "LOOK_AROUND", 0.1)
    monkeypatch.setattr(tuning, "LEASE", 3.0)
    held = left_behind(study, until=time.time() - 60)  # its clock is slow, and it may live
    begun = time.time()
    trials = finished(study, 2)
    assert time.time() - begun > 2.5
    assert sorted(trial.params == held.params for trial in trials) == [False, True]


def test_one_whose_process_is_gone_is_not_waited_for(study):
    process = subprocess.Popen(["true"])
    process.wait()
    lost = study.ask({"host": tuning.HOST, "pid": process.pid, "until": time.time() + 100})
    begun = time.monotonic()
    assert lost.params in [trial.params for trial in finished(study, 2)] and time.monotonic() - begun < 60


def test_settings_that_were_taken_from_the_queue_by_a_driver_that_died_are_asked_again(study):
    asked = study.optuna.ask()  # it died before it had asked for a single setting
    asked.set_user_attr("lease", {"host": "elsewhere", "pid": 1, "until": 0.0})
    (trial,) = finished(study, 1)
    assert trial.params == study.present and trial.number != asked.number


def test_settings_that_were_given_back_by_a_driver_that_died_are_asked_again(study, dataset, storage):
    lost = left_behind(study, until=0.0)
    storage.set_trial_user_attr(lost._trial_id, "given back", True)
    study.tell(lost.number, None, TrialState.FAIL)  # and no more
    again = Study("digits8", KNN, dataset, split(dataset, 3, 0), 0.5, storage)
    (trial,) = finished(again, 1)
    assert trial.params == lost.params and evidence_of(trial)[0].seconds == 777


def test_what_two_drivers_took_from_the_queue_at_once_is_tried_once(study, monkeypatch):
    taken = study.optuna.ask

    def twice():
        trial = taken()
        if trial.number == 0:  # SQLite gives it to both
            study.optuna.enqueue_trial(study.present)
        return trial

    monkeypatch.setattr(study.optuna, "ask", twice)
    trials = finished(study, 2)
    assert len(trials) == 2 and sum(trial.params == study.present for trial in trials) == 1


def test_drivers_that_begin_together_do_not_guess_alike(dataset, storage, monkeypatch):
    drawn = set()
    for process in (11, 12):
        monkeypatch.setattr(tuning.os, "getpid", lambda process=process: process)
        drawn.add(Study("digits8", KNN, dataset, split(dataset, 3, 0), 0.5, storage).optuna.sampler._rng.rng.random())
    assert len(drawn) == 2


def test_images_are_changed_no_further_than_the_rules_allow(dataset, storage):
    lenet = Member.named("lenet")
    folds = split(dataset, 3, 0)
    study = Study("digits8", lenet, dataset, folds, 0.5, storage, rules=Rules(limits={"rotation": 0}))
    driver = tuning._Driver(study, 3, lambda seconds: True)
    for _ in range(3):
        one = driver._asked()
        assert one.member.recipe.warp.rotation == 0 and one.member.recipe.peak == one.trial.params["peak"]
    assert study.name != Study("digits8", lenet, dataset, folds, 0.5, storage).name


@pytest.mark.slow
def test_a_trial_that_nobody_signs_is_not_waited_for_long(study, monkeypatch):
    monkeypatch.setattr(tuning, "LOOK_AROUND", 0.1)
    monkeypatch.setattr(tuning, "SIGNING", 0.5)
    study.optuna.ask()  # by a driver that died before it could sign
    begun = time.monotonic()
    assert len(finished(study, 2)) == 2
    assert time.monotonic() - begun < 60
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]


def test_a_trial_that_was_signed_too_late_is_left_to_the_others(study, monkeypatch):
    asked = study.optuna.ask
    late = []

    def slowly(*anything):
        trial = asked(*anything)
        if not late:
            late.append(trial.number)
            study.give_back(study.optuna.get_trials()[trial.number])
        return trial

    monkeypatch.setattr(study.optuna, "ask", slowly)
    trials = finished(study, 2)
    assert late and late[0] not in {trial.number for trial in trials}
    assert len(study.trials) == 2


def test_settings_that_fail_are_told_and_count(dataset, storage):
    study = Study(
        "digits8", replace(KNN, recipe=replace(KNN.recipe, neighbours=0)), dataset, split(dataset, 3, 0), 1, storage
    )
    (failed,) = finished(study, 1)
    assert failed.state == TrialState.FAIL and "n_neighbors" in failed.user_attrs["failure"]
    assert study.to_do(1) == 0


@pytest.mark.slow
def test_a_lease_from_a_clock_that_was_set_back_since_is_not_waited_for(study):
    lost = left_behind(study, until=time.time() + 86_400)
    begun = time.monotonic()
    assert lost.params in [trial.params for trial in finished(study, 2)]
    assert time.monotonic() - begun < 60


def test_a_storage_that_is_not_there_is_a_problem_of_one_line(tmp_path):
    nowhere = open_storage("postgresql+psycopg://nobody@127.0.0.1:1/none", tmp_path)
    with pytest.raises(Problem, match="cannot be opened"), nowhere:
        pass


def test_the_present_settings_are_never_given_up(dataset, storage):
    class Impatient(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return True

    study = Study("digits8", KNN, dataset, split(dataset, 3, 0), 0.5, storage, Impatient())
    states = {trial.params == study.present: trial.state for trial in finished(study, 2)}
    assert states == {True: TrialState.COMPLETE, False: TrialState.PRUNED}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*available(), "knn:pixels", "lenet:tutorial", "svm:pixels", "vgg:rmsprop"])
def test_every_model_can_be_tuned(name, dataset, storage):
    member = Member.named(name)
    if member.spec.is_network:
        member = replace(member, recipe=replace(member.recipe, epochs=1, least_steps=0))
    study = Study("digits8", member, dataset, split(dataset, 2, 0), 0.5, storage)
    states = [trial.state for trial in finished(study, 2)]
    assert states == [TrialState.COMPLETE] * 2
