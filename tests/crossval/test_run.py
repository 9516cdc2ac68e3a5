from dataclasses import replace

import numpy as np
import pytest
from conftest import replace_labels

from competition.crossval.folds import make_folds
from competition.crossval.run import Schedule, cheapest_first, cross_validate, pending_tasks
from competition.crossval.store import Store
from competition.errors import UserError
from competition.models.member import Member
from competition.models.networks.recipe import Recipe
from competition.models.zoo.knn import KnnRecipe
from competition.scoring.metrics import RMSE, mean_column_auc
from competition.workers.events import Failed, Finished, Skipped, Started, ignore_event
from competition.workers.local import LocalWorkers

KNN = Member.parse("knn")
MEMORIZER = replace(KNN, name="memorizer", recipe=KnnRecipe(n_neighbors=1, n_components=20, label_uncertainty=0.0))


def store_in(folder, dataset, count=3) -> Store:
    return Store(folder, dataset, make_folds(dataset, count, 0))


def test_every_row_is_predicted_by_a_model_that_has_not_seen_it(dataset, tmp_path):
    store = store_in(tmp_path, dataset)
    *_, (complete,) = cross_validate(store, [MEMORIZER], LocalWorkers(2), ignore_event)
    assert np.isfinite(complete.oof).all() and np.isfinite(complete.test).all()
    assert 0.8 < (complete.oof.argmax(axis=1) == dataset.labels).mean() < 1


def test_a_memorizer_scores_chance_on_random_labels(competition_copy, tmp_path):
    import pandas as pd

    from competition.data.dataset import load_dataset

    table = pd.read_csv(competition_copy / "train.csv")
    table["label"] = np.random.default_rng(0).integers(0, 2, len(table))
    table.to_csv(competition_copy / "train.csv", index=False)
    dataset = load_dataset(competition_copy)
    *_, (complete,) = cross_validate(store_in(tmp_path / "folds", dataset), [MEMORIZER], LocalWorkers(2), ignore_event)
    assert abs((complete.oof.argmax(axis=1) == dataset.labels).mean() - 0.5) < 0.1


def test_a_memorizer_scores_chance_on_random_label_sets_and_numbers(label_dataset, number_dataset, tmp_path):
    rng = np.random.default_rng(0)
    shuffled = label_dataset.labels[rng.permutation(len(label_dataset.labels))]
    sets = replace_labels(label_dataset, tmp_path / "sets", shuffled, label_dataset.classes)
    numbers = replace_labels(number_dataset, tmp_path / "n", rng.permutation(number_dataset.labels), np.array(["x"]))
    for dataset in (sets, numbers):
        store = store_in(tmp_path / dataset.digest, dataset)
        *_, (complete,) = cross_validate(store, [MEMORIZER], LocalWorkers(2), ignore_event)
        if dataset is sets:
            assert abs(mean_column_auc(dataset.labels, complete.oof) - 0.5) < 0.06
        else:
            assert RMSE.score(dataset.labels, complete.oof).value > dataset.labels.std()


def test_finished_folds_are_not_retrained(dataset, tmp_path):
    store = store_in(tmp_path, dataset)
    list(cross_validate(store, [KNN], LocalWorkers(2), ignore_event))
    (tmp_path / store.folds.name / "knn" / "fold-1.npz").unlink()
    started = []

    def on_event(event):
        if isinstance(event, Started):
            started.append(event.task.name)

    assert [task.name for task in pending_tasks(store, [KNN])] == ["knn fold 1"]
    list(cross_validate(store, [KNN], LocalWorkers(2), on_event))
    assert started == ["knn fold 1"]
    list(cross_validate(store, [KNN], LocalWorkers(2), on_event))
    assert started == ["knn fold 1"]


@pytest.mark.integration
def test_the_number_of_workers_does_not_change_any_byte(dataset, tmp_path):
    for jobs in (1, 2):
        store = store_in(tmp_path / str(jobs), dataset, count=2)
        list(cross_validate(store, [Member.parse("mlp")], LocalWorkers(jobs), ignore_event))
    first, second = (sorted((tmp_path / str(jobs)).rglob("*.npz")) for jobs in (1, 2))
    assert len(first) == 2
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.integration
def test_a_model_that_diverges_fails_alone(dataset, tmp_path):
    broken = replace(Member.parse("mlp"), name="broken", recipe=Recipe(epochs=1, peak_learning_rate=1e30))
    store, events, yielded = store_in(tmp_path, dataset, count=2), [], []
    with pytest.raises(UserError, match=r"broken fold 0, broken fold 1 failed.*run again"):
        for complete in cross_validate(store, [broken, KNN], LocalWorkers(2), events.append):
            yielded.append([member.member for member in complete])
    assert yielded == [["knn"]]
    reasons = [event.failure.reason for event in events if isinstance(event, Failed)]
    assert len(reasons) == 2 and all("training diverged" in reason for reason in reasons)


@pytest.mark.integration
def test_cheap_members_come_first_and_each_completion_is_yielded(dataset, tmp_path):
    store = store_in(tmp_path, dataset, count=2)
    linear = Member.parse("linear")
    yielded = list(cross_validate(store, [linear, KNN], LocalWorkers(1), ignore_event))
    assert linear.spec.seconds > KNN.spec.seconds
    assert [[member.member for member in complete] for complete in yielded] == [["knn"], ["knn", "linear"]]


def test_members_of_equal_cost_keep_their_order(dataset, tmp_path):
    store, svm = store_in(tmp_path, dataset, count=2), Member.parse("svm")
    assert cheapest_first(store, [svm, KNN]) == [svm, KNN] and cheapest_first(store, [KNN, svm]) == [KNN, svm]


def test_the_order_is_that_of_the_estimates_for_these_rows(dataset, tmp_path):
    # On few rows a network trains for a number of steps that does not depend on them.
    store = store_in(tmp_path, dataset, count=2)
    resnet, svm = Member.parse("resnet"), Member.parse("features-svm")
    assert resnet.spec.seconds < svm.spec.seconds
    assert cheapest_first(store, [resnet, svm]) == [svm, resnet]


@pytest.mark.integration
def test_results_for_different_data_are_not_saved(dataset, tmp_path):
    store = store_in(tmp_path, dataset, count=2)
    elsewhere = replace(store, dataset=replace(dataset, digest="edited meanwhile"))
    events = []
    with pytest.raises(UserError, match="knn fold 0, knn fold 1 failed"):
        list(cross_validate(elsewhere, [KNN], LocalWorkers(2), events.append))
    assert all(
        "the worker's data differs from the driver's" in event.failure.reason
        for event in events
        if isinstance(event, Failed)
    )
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.slow
def test_the_highest_priority_goes_first_once_a_member_is_complete(dataset, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    members = [Member.parse(name) for name in ("knn", "knn.1", "svm", "linear")]
    priority = {"svm": 3.0, "linear": 2.0, "knn.1": 1.0}
    started = []

    def on_event(event):
        if isinstance(event, Started):
            started.append(event.task.member.name)

    def priorities(complete, waiting):
        return {member: priority[member.name] for member in waiting}

    for _ in cross_validate(store, members, LocalWorkers(1), on_event, Schedule(priorities=priorities)):
        pass
    assert started[:2] == ["knn", "knn"]  # the cheapest, while no member is complete
    assert [name for name in started[3:] if name != started[2]] == [
        name for name in priority for _ in (0, 1) if name != started[2]
    ]


@pytest.mark.slow
def test_a_fold_that_should_not_start_is_skipped_alone(dataset, tmp_path):
    store, events = store_in(tmp_path, dataset), []
    schedule = Schedule(should_start=lambda task: task.fold != 1)
    assert list(cross_validate(store, [KNN], LocalWorkers(2), events.append, schedule)) == []
    assert sorted(event.task.fold for event in events if isinstance(event, Finished)) == [0, 2]
    assert [event.task.fold for event in events if isinstance(event, Skipped)] == [1]
    assert [task.name for task in pending_tasks(store, [KNN])] == ["knn fold 1"]
