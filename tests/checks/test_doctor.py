from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from competition.checks import doctor
from competition.checks.doctor import (
    REFERENCE_GFLOPS,
    Plan,
    check_balance,
    check_blank_images,
    check_drift,
    check_duplicates,
    check_labels,
    check_near_duplicates,
    check_resources,
    examine_dataset,
    findings_to_json,
)
from competition.crossval.predictions import Predictions
from competition.models.member import Member
from competition.views.report.findings import write_findings

PLAN = Plan([Member.parse("knn")], 5, 2, 100.0, Path())


def test_sound_data_are_found_sound(dataset):
    found = {one.check: one for one in examine_dataset(dataset, [], PLAN)}
    assert list(found) == [
        "shape",
        "balance",
        "blank images",
        "needs",
        "copies in train",
        "torn labels",
        "copies in test",
        "drift",
        "near copies in train",
        "near copies in test",
        "torn near copies",
    ]
    assert all(one.is_fine for one in found.values()), found


def test_copies_are_found_wherever_they_are(dataset):
    images, labels, test = dataset.images.copy(), dataset.labels.copy(), dataset.test_images.copy()
    images[7] = images[3]
    labels[7] = labels[3]
    images[20] = images[11]
    labels[20] = (labels[11] + 1) % 10
    test[5] = images[0]
    within, torn, across = check_duplicates(replace(dataset, images=images, labels=labels, test_images=test))
    assert within.images == [(3, 7), (11, 20)] and "4 training rows" in within.message
    assert torn.images == [(11, 20)] and not torn.is_fine
    assert across.images == [(0, len(labels) + 5)] and not across.is_fine


def test_near_copies_are_found_wherever_they_are(dataset):
    images, labels, test = dataset.images.copy(), dataset.labels.copy(), dataset.test_images.copy()
    images[7], labels[7] = images[3] // 2, labels[3]
    images[20], labels[20] = images[11] // 2, (labels[11] + 1) % 10
    test[5] = images[0] // 2
    within, across, torn = check_near_duplicates(replace(dataset, images=images, labels=labels, test_images=test))
    assert {(3, 7), (11, 20)} <= set(within.images) and (0, len(labels) + 5) in across.images
    assert torn.images == [(11, 20)] and not torn.is_fine


def test_a_label_that_no_model_votes_for_is_suspected(dataset):
    spoiled = dataset.labels.copy()
    spoiled[[5, 9]] = (spoiled[[5, 9]] + 1) % 10
    said = np.eye(10)[dataset.labels] * 0.98 + 0.002
    unsure = said.copy()
    unsure[9] = 0.1 + 0.05 * np.eye(10)[spoiled[9]] - 0.005
    members = [Predictions(name, oof, said[None], 1.0, "") for name, oof in (("sure", said), ("unsure", unsure))]
    found = check_labels(replace(dataset, labels=spoiled), members)
    assert found.images == [(5,)] and "none of sure, unsure votes for" in found.message
    assert check_labels(dataset, members[:1]).images == []


def test_the_page_shows_what_was_found_and_the_json_names_it(dataset, tmp_path):
    images = dataset.images.copy()
    images[7] = images[3]
    spoiled = replace(dataset, images=images, classes=np.array([*"012345678", "<b>"], dtype=object))
    found = list(check_duplicates(spoiled))
    text = write_findings(tmp_path / "doctor.html", "digits8", spoiled, found).read_text()
    names = [str(dataset.train_ids[row]) for row in (3, 7)]
    assert text.count("<img ") == 2 and all(f"row {name}, labelled" in text for name in names)
    assert "<b>" not in text and "http" not in text
    assert findings_to_json(spoiled, found)[0]["rows"] == [names]


def test_other_light_in_the_test_images_is_drift(dataset):
    brighter = np.minimum(dataset.test_images.astype(int) + 40, 255).astype(np.uint8)
    found = check_drift(replace(dataset, test_images=brighter))
    assert not found.is_fine and "p = " in found.message


def test_a_rare_class_and_an_empty_image_are_told(dataset):
    labels = np.where((dataset.labels == 4) & (np.arange(len(dataset.labels)) > 100), 5, dataset.labels)
    assert not check_balance(replace(dataset, labels=labels)).is_fine
    images = dataset.images.copy()
    images[9] = 0
    found = check_blank_images(replace(dataset, images=images))
    assert not found.is_fine and found.images == [(9,)]


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_time_is_shared_by_the_workers(jobs, dataset):
    large = replace(dataset, labels=np.zeros(42_000, dtype=int))
    plan = replace(PLAN, members=[Member.parse("quick")], jobs=jobs, peak=REFERENCE_GFLOPS / 2)
    minutes = float(check_resources(large, plan).message.split("about ")[1].split()[0])
    assert minutes == round(2 * 5 * Member.parse("quick").spec.seconds / jobs / 60)


def test_networks_need_no_memory_for_the_rows(dataset):
    images = np.broadcast_to(np.uint8(0), (10**9, 64, 64, 3))  # which nobody has
    asked = [replace(PLAN, members=[Member.parse(name)], jobs=1) for name in ("quick", "knn")]
    quick, knn = (check_resources(replace(dataset, images=images), plan) for plan in asked)
    assert quick.is_fine and not knn.is_fine


def test_among_too_many_images_near_copies_are_not_looked_for(dataset, monkeypatch):
    monkeypatch.setattr(doctor, "MAX_COMPARED_IMAGES", 700)
    (found,) = check_near_duplicates(dataset)
    assert found.is_fine and "not looked for: each of 800 images" in found.message


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_page_of_suspects_in_a_browser(width, scheme, dataset, tmp_path, open_accessible_page):
    images = dataset.images.copy()
    images[7] = images[3]
    spoiled = replace(dataset, images=images)
    page = write_findings(tmp_path / "doctor.html", "digits8", spoiled, list(check_duplicates(spoiled)))
    tab = open_accessible_page(page.as_uri(), width, scheme)
    assert tab.locator("h2").count() == 3 and tab.locator("figure").count() == 2
