from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from competition.doctor import balance, blank, copies, drift, examine, needs
from competition.models import Member


def test_sound_data_are_found_sound(dataset):
    found = {one.what: one for one in examine(dataset, [Member.named("knn")], 5, 2, Path())}
    assert {
        "shape",
        "balance",
        "blank images",
        "copies in train",
        "torn labels",
        "copies in test",
        "drift",
        "needs",
    } == set(found)
    assert all(one.is_fine for one in found.values()), found


def test_copies_are_found_wherever_they_are(dataset):
    images, labels, test = dataset.images.copy(), dataset.labels.copy(), dataset.test_images.copy()
    images[7] = images[3]
    labels[7] = labels[3]
    images[20] = images[11]
    labels[20] = (labels[11] + 1) % 10
    test[5] = images[0]
    within, torn, across = copies(replace(dataset, images=images, labels=labels, test_images=test))
    names = [str(dataset.train_ids[row]) for row in (3, 7, 11, 20)]
    assert within.rows == names and "4 training rows" in within.told
    assert torn.rows == names[2:] and not torn.is_fine
    assert across.rows == [f"test {dataset.test_ids[5]}"] and not across.is_fine


def test_other_light_in_the_test_images_is_drift(dataset):
    brighter = np.minimum(dataset.test_images.astype(int) + 40, 255).astype(np.uint8)
    found = drift(replace(dataset, test_images=brighter))
    assert not found.is_fine and "p = " in found.told


def test_a_rare_class_and_an_empty_image_are_told(dataset):
    labels = np.where((dataset.labels == 4) & (np.arange(len(dataset.labels)) > 100), 5, dataset.labels)
    assert not balance(replace(dataset, labels=labels)).is_fine
    images = dataset.images.copy()
    images[9] = 0
    found = blank(replace(dataset, images=images))
    assert not found.is_fine and found.rows == [str(dataset.train_ids[9])]


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_time_is_shared_by_the_workers(jobs, dataset):
    large = replace(dataset, labels=np.zeros(42_000, dtype=int))
    minutes = float(needs(large, [Member.named("quick")], 5, jobs, Path()).told.split("about ")[1].split()[0])
    assert minutes == round(5 * Member.named("quick").spec.seconds / jobs / 60)
