from dataclasses import replace

import numpy as np
import pytest

from competition.checks.groups import MAX_ROWS, _sample_groups, measure_group_effect

GROUPS, ROWS_PER_GROUP = 60, 8


@pytest.fixture
def sitters(dataset):
    """Images that differ by sitter, whose label has nothing to do with what can be seen."""
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 200, (GROUPS, 1, 10, 10, 1))
    images = (looks + rng.integers(0, 55, (GROUPS, ROWS_PER_GROUP, 10, 10, 1))).astype(np.uint8)
    labels = np.repeat(rng.permutation(np.arange(GROUPS) % 2), ROWS_PER_GROUP)
    groups = np.repeat(np.arange(GROUPS), ROWS_PER_GROUP)
    return replace(dataset, images=images.reshape(-1, 10, 10, 1), labels=labels, groups=groups)


def test_folds_that_split_groups_are_optimistic_and_grouped_ones_score_chance(sitters):
    effect = measure_group_effect(sitters)
    assert effect.split.value > 0.95
    assert abs(effect.grouped.value - 0.5) < 3 * effect.grouped.standard_error
    assert effect.optimism.value > 3 * effect.optimism.standard_error


def test_groups_of_unrelated_images_have_no_effect(sitters):
    shuffled = np.random.default_rng(1).permutation(len(sitters.labels))
    effect = measure_group_effect(replace(sitters, groups=sitters.groups[shuffled]))
    assert abs(effect.optimism.value) < 3 * max(effect.optimism.standard_error, 0.01)


def test_standard_errors_count_groups(sitters):
    effect = measure_group_effect(sitters)
    rows = len(sitters.labels)
    assert effect.grouped.standard_error > 1.15 * np.sqrt(0.25 / rows)


def test_without_groups_or_classes_nothing_is_measured(sitters):
    assert measure_group_effect(replace(sitters, groups=np.arange(len(sitters.labels)))) is None
    assert measure_group_effect(replace(sitters, labels=sitters.labels.astype(np.float32))) is None


def test_of_large_groups_only_a_part_is_compared(sitters):
    few = sitters.groups * 3 // GROUPS  # three groups
    copies = 2 * MAX_ROWS // len(few)
    large = replace(
        sitters,
        images=np.tile(sitters.images, (copies, 1, 1, 1)),
        labels=np.tile(sitters.labels, copies),
        groups=np.tile(few, copies),
    )
    rows = _sample_groups(large.groups, seed=0)
    assert len(np.unique(rows)) == len(rows) == MAX_ROWS and len(np.unique(large.groups[rows])) == 2
