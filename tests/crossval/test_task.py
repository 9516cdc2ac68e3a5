import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from competition.crossval.folds import Folds, split
from competition.crossval.task import Task, checked, perform
from competition.models.member import Member


def silent(epoch):
    pass


def test_a_task_predicts_the_held_out_and_the_test_rows(dataset):
    folds = split(dataset, 4, 0)
    result = perform(Task(Member.named("knn"), 2), dataset, folds, silent)
    assert result.held_out.shape == ((folds.held_out == 2).sum(), 10)
    assert result.test.shape == (len(dataset.test_ids), 10)
    assert result.suffix == ".skops" and len(result.model) > 1_000


def test_a_network_leaves_the_images_on_disk(dataset):
    times, wide = 10, (4, 4)  # as many pixels as would be felt
    images, test_images = (
        np.kron(those[..., 0], np.ones((1, *wide), np.uint8))[..., None]
        for those in (np.tile(dataset.images, (times, 1, 1, 1)), dataset.test_images)
    )
    labels = np.tile(dataset.labels, times)
    large = replace(dataset, images=images, test_images=test_images, labels=labels)
    member = Member.named("mlp")
    task = Task(replace(member, recipe=replace(member.recipe, epochs=1)), 0)
    folds = Folds(np.arange(len(labels)) % 2, 2, 0, "")
    perform(task, large, folds, silent)  # what Keras needs anyway
    tracemalloc.start()
    perform(task, large, folds, silent)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 3, (peak, images.nbytes)


def test_held_out_labels_change_nothing(dataset):
    folds = split(dataset, 4, 0)
    spoiled = dataset.labels.copy()
    spoiled[folds.held_out == 1] = 0
    for name in ("knn", "mlp"):
        task = Task(Member.named(name), 1)
        honest = perform(task, dataset, folds, silent)
        blind = perform(task, replace(dataset, labels=spoiled), folds, silent)
        assert (honest.held_out == blind.held_out).all() and (honest.test == blind.test).all()


def test_test_images_change_nothing_but_their_own_predictions(dataset):
    folds = split(dataset, 4, 0)
    task = Task(Member.named("mlp"), 0)
    fewer = replace(dataset, test_images=dataset.test_images[:50])
    whole, part = perform(task, dataset, folds, silent), perform(task, fewer, folds, silent)
    assert (whole.held_out == part.held_out).all()
    assert np.allclose(whole.test[:50], part.test, atol=1e-6)


def test_folds_and_seeds_have_streams_of_their_own(dataset):
    folds = split(dataset, 2, 0)
    alike = replace(folds, held_out=np.zeros_like(folds.held_out))  # the same rows, another number
    alike.held_out[folds.held_out == 0] = 1
    first = perform(Task(Member.named("mlp"), 0), dataset, folds, silent)
    second = perform(Task(Member.named("mlp"), 1), dataset, alike, silent)
    third = perform(Task(Member.named("mlp.1"), 0), dataset, folds, silent)
    assert (first.test != second.test).any() and (first.test != third.test).any()


@pytest.mark.parametrize("bad", [[0.5, np.nan], [1.5, -0.5], [0.4, 0.4]])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(FloatingPointError, match="not probabilities"):
        checked(np.array([[0.5, 0.5], bad]))
