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
    check_distribution_shift,
    check_duplicates,
    check_labels,
    check_near_duplicates,
    check_resources,
    findings_to_json,
    run_checks,
)
from competition.crossval.predictions import Predictions
from competition.models.member import Member
from competition.views.report.findings import write_findings

PLAN = Plan([Member.parse("knn")], 5, 2, 100.0, Path())


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_label_sets_and_numbers_are_checked(kind, label_dataset, number_dataset, tmp_path):
    dataset = label_dataset if kind == "labels" else number_dataset
    findings = list(run_checks(dataset, [], PLAN))
    assert all(finding.passed for finding in findings)
    assert ("balance" in [finding.check for finding in findings]) == (kind == "labels")
    expected = "3 labels, several may apply: even, large, loop" if kind == "labels" else "a number: value"
    assert expected in findings[0].message
    images = dataset.images.copy()
    images[1] = images[np.flatnonzero((dataset.labels != dataset.labels[1]).reshape(len(images), -1).any(axis=1))[0]]
    conflicting = list(check_duplicates(replace(dataset, images=images)))[1]
    assert not conflicting.passed
    write_findings(tmp_path / "doctor.html", "digits8", replace(dataset, images=images), [conflicting])
    assert "labelled " in (tmp_path / "doctor.html").read_text()


def test_clean_data_passes_every_check(dataset):
    findings = {finding.check: finding for finding in run_checks(dataset, [], PLAN)}
    assert list(findings) == [
        "shape",
        "balance",
        "blank images",
        "resources",
        "duplicates in train",
        "conflicting labels",
        "duplicates in test",
        "train-test distribution shift",
        "near-duplicates in train",
        "near-duplicates in test",
        "conflicting near-duplicates",
    ]
    assert all(finding.passed for finding in findings.values()), findings


def test_a_competition_without_test_images_is_checked(dataset):
    trained_only = replace(dataset, test_images=dataset.test_images[:0], test_ids=dataset.test_ids[:0])
    checks = [finding.check for finding in run_checks(trained_only, [], PLAN)]
    assert "near-duplicates in train" in checks and "train-test distribution shift" not in checks


def test_the_memory_of_models_of_columns_depends_on_the_columns(dataset_with_columns):
    plan = replace(PLAN, members=[Member.parse("boosting"), Member.parse("logistic")])
    assert "for boosting logistic" in check_resources(dataset_with_columns, plan).message
    rows = np.broadcast_to(np.float32(0), (len(dataset_with_columns.labels), 10**9))  # takes no memory
    assert not check_resources(replace(dataset_with_columns, columns=rows), plan).passed


def test_duplicates_are_found_within_train_and_between_train_and_test(dataset):
    images, labels, test = dataset.images.copy(), dataset.labels.copy(), dataset.test_images.copy()
    images[7] = images[3]
    labels[7] = labels[3]
    images[20] = images[11]
    labels[20] = (labels[11] + 1) % 10
    test[5] = images[0]
    within, conflicting, between = check_duplicates(replace(dataset, images=images, labels=labels, test_images=test))
    assert within.images == [(3, 7), (11, 20)] and "4 training rows" in within.message
    assert conflicting.images == [(11, 20)] and not conflicting.passed
    assert between.images == [(0, len(labels) + 5)] and not between.passed


def test_near_duplicates_are_found_within_train_and_between_train_and_test(dataset):
    images, labels, test = dataset.images.copy(), dataset.labels.copy(), dataset.test_images.copy()
    images[7], labels[7] = images[3] // 2, labels[3]
    images[20], labels[20] = images[11] // 2, (labels[11] + 1) % 10
    test[5] = images[0] // 2
    within, between, conflicting = check_near_duplicates(
        replace(dataset, images=images, labels=labels, test_images=test)
    )
    assert {(3, 7), (11, 20)} <= set(within.images) and (0, len(labels) + 5) in between.images
    assert conflicting.images == [(11, 20)] and not conflicting.passed


def test_a_label_that_no_model_predicts_is_suspected(dataset):
    labels = dataset.labels.copy()
    labels[[5, 9]] = (labels[[5, 9]] + 1) % 10
    sure = np.eye(10)[dataset.labels] * 0.98 + 0.002
    unsure = sure.copy()
    unsure[9] = 0.1 + 0.05 * np.eye(10)[labels[9]] - 0.005
    members = [Predictions(name, oof, sure[None], 1.0, "") for name, oof in (("sure", sure), ("unsure", unsure))]
    finding = check_labels(replace(dataset, labels=labels), members)
    assert (
        finding.images == [(5,)] and "none of sure, unsure predicts and that they consider unlikely" in finding.message
    )
    assert check_labels(dataset, members[:1]).images == []


def test_the_page_shows_the_images_and_the_json_has_their_ids(dataset, tmp_path):
    images = dataset.images.copy()
    images[7] = images[3]
    changed = replace(dataset, images=images, classes=np.array([*"012345678", "<b>"], dtype=object))
    findings = list(check_duplicates(changed))
    page = write_findings(tmp_path / "doctor.html", "digits8", changed, findings).read_text()
    ids = [str(dataset.train_ids[row]) for row in (3, 7)]
    assert page.count("<img ") == 2 and all(f"row {row_id}, labelled" in page for row_id in ids)
    assert "<b>" not in page and "http" not in page
    assert findings_to_json(changed, findings)[0]["rows"] == [ids]


@pytest.mark.integration
def test_brighter_test_images_are_drift(dataset):
    brighter = np.minimum(dataset.test_images.astype(int) + 40, 255).astype(np.uint8)
    finding = check_distribution_shift(replace(dataset, test_images=brighter))
    assert not finding.passed and "p = " in finding.message


def test_a_rare_class_and_a_blank_image_are_reported(dataset):
    labels = np.where((dataset.labels == 4) & (np.arange(len(dataset.labels)) > 100), 5, dataset.labels)
    assert not check_balance(replace(dataset, labels=labels)).passed
    images = dataset.images.copy()
    images[9] = 0
    finding = check_blank_images(replace(dataset, images=images))
    assert not finding.passed and finding.images == [(9,)]


def test_classes_of_equal_size_are_not_called_smallest_and_largest(dataset):
    equal = replace(dataset, labels=np.arange(len(dataset.labels)) % 10)
    assert check_balance(equal).message == f"each class has {len(dataset.labels) // 10} rows"


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_time_is_divided_among_the_workers(jobs, dataset):
    images = np.broadcast_to(np.uint8(0), (42_000, 28, 28, 1))
    large = replace(dataset, images=images, labels=np.zeros(42_000, dtype=int))
    plan = replace(PLAN, members=[Member.parse("quick")], jobs=jobs, gflops=REFERENCE_GFLOPS / 2)
    minutes = float(check_resources(large, plan).message.split("about ")[1].split()[0])
    assert minutes == round(2 * 5 * Member.parse("quick").spec.seconds / jobs / 60)


def test_networks_do_not_load_all_rows_into_memory(dataset):
    images = np.broadcast_to(np.uint8(0), (10**9, 64, 64, 3))  # more than any machine has
    plans = [replace(PLAN, members=[Member.parse(name)], jobs=1) for name in ("quick", "knn")]
    quick, knn = (check_resources(replace(dataset, images=images), plan) for plan in plans)
    assert quick.passed and not knn.passed


def test_near_duplicates_are_not_searched_among_too_many_images(dataset, monkeypatch):
    monkeypatch.setattr(doctor, "MAX_COMPARED_IMAGES", 700)
    (finding,) = check_near_duplicates(dataset)
    assert finding.passed and "not searched; comparing 800 images" in finding.message


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_the_page_works_in_a_browser(width, scheme, dataset, tmp_path, open_accessible_page):
    images = dataset.images.copy()
    images[7] = images[3]
    changed = replace(dataset, images=images)
    page = write_findings(tmp_path / "doctor.html", "digits8", changed, list(check_duplicates(changed)))
    tab = open_accessible_page(page.as_uri(), width, scheme)
    assert tab.locator("tr").count() == 3 and tab.locator("h2").count() == 1 and tab.locator("figure").count() == 2


def test_the_time_includes_the_extraction_of_features(dataset):
    plan = replace(PLAN, gflops=REFERENCE_GFLOPS, extraction_seconds=1200.0)
    message = check_resources(dataset, plan).message
    assert "about 10 min for knn, of which 10 min to extract features (workers: 2" in message
    assert "features" not in check_resources(dataset, PLAN).message
