import os
import signal

import numpy as np
import pytest
from conftest import wait_until

from competition.crossval.folds import make_folds
from competition.crossval.run import cross_validate
from competition.crossval.store import Store
from competition.deploy import network_process
from competition.deploy.network_process import open_network_process
from competition.deploy.predict import (
    BlendModels,
    fit_combination,
    predict_blend,
    predict_combination,
)
from competition.ensemble.blend import BlendSearch
from competition.ensemble.blenders import WeightedMean
from competition.errors import UserError
from competition.models.interface import Target
from competition.models.member import Member
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers


def test_a_blend_with_a_member_of_columns_cannot_predict_images(dataset_with_columns, tmp_path):
    store = Store(tmp_path / "leaves", dataset_with_columns, make_folds(dataset_with_columns, 2, 0))
    members = [Member.parse(name) for name in ("logistic", "knn")]
    for _ in cross_validate(store, members, LocalWorkers(2), ignore_event):
        pass
    remedy = "make submit MODELS=knn COMPETITION=leaves FOLDS=2"
    with pytest.raises(UserError, match=f"logistic learns from columns .* without it: {remedy}"):
        predict_blend(store, members, "mean", {"images": dataset_with_columns.test_images[:2]}, LocalWorkers(1))
    assert BlendSearch(
        [store.predictions(member) for member in members], dataset_with_columns.labels, store.folds.held_out
    ).blend("mean").members == ("logistic", "knn")


def test_the_command_that_completes_a_submission_names_its_competition_members_and_split(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 1))
    remedy = "run `make submit MODELS='knn svm' COMPETITION=letters FOLDS=3 SEED=1` again"
    with pytest.raises(UserError, match=f"knn is incomplete, or its code or data have changed; {remedy}"):
        fit_combination(store, [Member.parse("knn"), Member.parse("svm")], "mean")


class ProcessRecorder:
    """A model whose probability of the first class tells whether it predicts in this process."""

    def __init__(self, driver: int) -> None:
        self.driver = driver

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        is_driver = os.getpid() == self.driver
        return np.tile([float(is_driver), 1 - float(is_driver)], (len(images), 1))


class KilledElsewhere(ProcessRecorder):
    """A model that kills any other process."""

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        if os.getpid() != self.driver:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict_proba(images)


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(network_process, "cpu_count", lambda: 2)


def predict_two_images(model: ProcessRecorder, names: str, jobs: int) -> list[float]:
    """The share of the members' models that predict in this process, for each of two images."""
    members = tuple(Member.parse(name) for name in names.split())
    combination = WeightedMean(np.full(len(members), 1 / len(members)), np.ones(len(members)))
    inputs = ("images",) * len(members)
    blend = BlendModels(members, (2,) * len(members), Target("class", 2), combination, inputs, False)
    images, workers = {"images": np.zeros((2, 8, 8, 1), np.uint8)}, LocalWorkers(jobs)
    with open_network_process(jobs) as process:
        if process and network_process._import_keras is kill_this_process:
            wait_until(lambda: process._flags.broken)
        return predict_combination(blend, lambda *_: model, images, workers, process)[0][:, 0].tolist()


@pytest.mark.parametrize(
    ("names", "jobs", "share"), [("knn mlp", 2, 0.5), ("knn mlp", 1, 1), ("knn svm", 2, 1), ("mlp lenet", 2, 0)]
)
def test_few_images_are_predicted_by_networks_in_another_process(names, jobs, share):
    assert predict_two_images(ProcessRecorder(os.getpid()), names, jobs) == [share, share]


def test_few_images_are_predicted_here_if_the_other_process_is_killed(monkeypatch):
    assert predict_two_images(KilledElsewhere(os.getpid()), "knn mlp", 2) == [1, 1]
    monkeypatch.setattr(network_process, "_import_keras", kill_this_process)
    assert predict_two_images(ProcessRecorder(os.getpid()), "knn mlp", 2) == [1, 1]
