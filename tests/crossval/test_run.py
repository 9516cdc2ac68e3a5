from dataclasses import replace

import numpy as np
import pytest

from competition.crossval.folds import split
from competition.crossval.run import cross_validate, unfinished
from competition.crossval.store import Store
from competition.errors import Problem
from competition.models.member import Member
from competition.models.networks.recipe import Recipe
from competition.models.zoo.knn import Neighbourhood
from competition.workers.local import LocalWorkers

KNN = Member.named("knn")
MEMORISER = replace(KNN, name="memoriser", recipe=Neighbourhood(neighbours=1, components=20, doubt=0.0))


def deaf(*said):
    pass


def store_in(folder, dataset, count=3) -> Store:
    return Store(folder, dataset, split(dataset, count, 0))


def test_every_row_is_predicted_by_a_model_that_has_not_seen_it(dataset, tmp_path):
    store = store_in(tmp_path, dataset)
    *_, (complete,) = cross_validate(store, [MEMORISER], LocalWorkers(2), deaf)
    assert np.isfinite(complete.oof).all() and np.isfinite(complete.test).all()
    assert 0.8 < (complete.oof.argmax(axis=1) == dataset.labels).mean() < 1


def test_a_memoriser_scores_chance_on_random_labels(own_competition, tmp_path):
    import pandas as pd

    from competition.data.dataset import load

    table = pd.read_csv(own_competition / "train.csv")
    table["label"] = np.random.default_rng(0).integers(0, 2, len(table))
    table.to_csv(own_competition / "train.csv", index=False)
    dataset = load(own_competition)
    *_, (complete,) = cross_validate(store_in(tmp_path / "folds", dataset), [MEMORISER], LocalWorkers(2), deaf)
    assert abs((complete.oof.argmax(axis=1) == dataset.labels).mean() - 0.5) < 0.1


def test_what_is_finished_is_not_trained_again(dataset, tmp_path):
    store = store_in(tmp_path, dataset)
    list(cross_validate(store, [KNN], LocalWorkers(2), deaf))
    (tmp_path / store.folds.name / "knn" / "fold-1.npz").unlink()
    started = []

    def hear(task, what, *_):
        if what == "started":
            started.append(task.name)

    assert [task.name for task in unfinished(store, [KNN])] == ["knn fold 1"]
    list(cross_validate(store, [KNN], LocalWorkers(2), hear))
    assert started == ["knn fold 1"]
    list(cross_validate(store, [KNN], LocalWorkers(2), hear))
    assert started == ["knn fold 1"]


def test_the_number_of_workers_does_not_change_a_byte(dataset, tmp_path):
    for jobs in (1, 2):
        store = store_in(tmp_path / str(jobs), dataset, count=2)
        list(cross_validate(store, [Member.named("mlp")], LocalWorkers(jobs), deaf))
    first, second = (sorted((tmp_path / str(jobs)).rglob("*.npz")) for jobs in (1, 2))
    assert len(first) == 2
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_model_that_diverges_fails_alone(dataset, tmp_path):
    broken = replace(Member.named("mlp"), name="broken", recipe=Recipe(epochs=1, peak=1e30))
    store, heard, yielded = store_in(tmp_path, dataset, count=2), [], []
    with pytest.raises(Problem, match=r"broken fold 0, broken fold 1 failed.*run again"):
        for complete in cross_validate(store, [broken, KNN], LocalWorkers(2), lambda *said: heard.append(said)):
            yielded.append([member.member for member in complete])
    assert yielded == [["knn"]]
    reasons = [detail.reason for _, what, *rest in heard if what == "failed" for detail in rest]
    assert len(reasons) == 2 and all("the loss became" in reason for reason in reasons)


def test_cheap_members_come_first_and_each_completion_is_told(dataset, tmp_path):
    store = store_in(tmp_path, dataset, count=2)
    yielded = list(cross_validate(store, [Member.named("svm"), KNN], LocalWorkers(1), deaf))
    assert [[member.member for member in complete] for complete in yielded] == [["knn"], ["knn", "svm"]]


def test_what_other_code_made_than_the_drivers_is_not_kept(dataset, tmp_path):
    store = store_in(tmp_path, dataset, count=2)
    elsewhere = replace(store, dataset=replace(dataset, digest="edited meanwhile"))
    heard = []
    with pytest.raises(Problem, match="knn fold 0, knn fold 1 failed"):
        list(cross_validate(elsewhere, [KNN], LocalWorkers(2), lambda *said: heard.append(said)))
    assert all("another data" in rest[0].reason for _, what, *rest in heard if what == "failed")
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.slow
def test_what_promises_most_goes_first_once_something_is_complete(dataset, tmp_path):
    store = Store(tmp_path, dataset, split(dataset, 2, 0))
    members = [Member.named(name) for name in ("knn", "knn.1", "svm", "linear")]
    worth = {"svm": 3.0, "linear": 2.0, "knn.1": 1.0}
    started = []

    def hear(task, what, *details):
        if what == "started":
            started.append(task.member.name)

    def promises(complete, waiting):
        return {member: worth[member.name] for member in waiting}

    for _ in cross_validate(store, members, LocalWorkers(1), hear, promises=promises):
        pass
    assert started[:2] == ["knn", "knn"]  # the cheapest, as long as nothing is known
    assert [name for name in started[3:] if name != started[2]] == [
        name for name in worth for _ in (0, 1) if name != started[2]
    ]


@pytest.mark.slow
def test_a_fold_that_is_not_admitted_is_dropped_and_the_others_go_on(dataset, tmp_path):
    store, heard = store_in(tmp_path, dataset), []
    run = cross_validate(
        store, [KNN], LocalWorkers(2), lambda *said: heard.append(said[:2]), admits=lambda task: task.fold != 1
    )
    assert list(run) == []
    assert sorted(task.fold for task, what in heard if what == "finished") == [0, 2]
    assert [task.fold for task, what in heard if what == "dropped"] == [1]
    assert [task.name for task in unfinished(store, [KNN])] == ["knn fold 1"]
