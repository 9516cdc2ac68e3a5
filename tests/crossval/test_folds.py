import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.crossval import folds
from competition.errors import Problem


def test_each_row_is_held_out_once_and_classes_are_spread(dataset):
    split = folds.split(dataset, 5, 0)
    assert split.held_out.shape == dataset.labels.shape and set(split.held_out) == set(range(5))
    counts = np.array([np.bincount(dataset.labels[split.held_out == fold], minlength=10) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 2


def test_exact_duplicates_are_held_out_together(dataset):
    images = dataset.images.copy()
    images[100:140] = images[7]  # forty copies of one image, whatever their labels
    split = folds.split(replace(dataset, images=images), 5, 0)
    assert len(set(split.held_out[[7, *range(100, 140)]])) == 1


def test_another_seed_is_another_split(dataset):
    first, second = folds.split(dataset, 5, 0), folds.split(dataset, 5, 1)
    assert first.digest != second.digest and (first.held_out != second.held_out).mean() > 0.5
    assert folds.split(dataset, 5, 0).digest == first.digest


def test_a_split_is_frozen_and_others_stand_beside_it(dataset, tmp_path):
    first = folds.frozen(dataset, tmp_path, 5, 0)
    stamp = (tmp_path / first.name / "split.csv").read_bytes()
    folds.frozen(dataset, tmp_path, 3, 0)
    folds.frozen(dataset, tmp_path, 5, 1)
    again = folds.frozen(dataset, tmp_path, 5, 0)
    assert again.digest == first.digest and (again.held_out == first.held_out).all()
    assert (tmp_path / first.name / "split.csv").read_bytes() == stamp
    assert len(list(tmp_path.iterdir())) == 3


def test_a_split_is_recorded_by_row_id(dataset, tmp_path):
    first = folds.frozen(dataset, tmp_path, 5, 0)
    path = tmp_path / first.name / "split.csv"
    stamp, header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([stamp, header, *reversed(rows)]) + "\n")
    assert (folds.frozen(dataset, tmp_path, 5, 0).held_out == first.held_out).all()


def test_ids_are_read_as_they_are_written(dataset, tmp_path):
    ids = np.array(["img#1", "NA", "007", *(f"{row}.png" for row in range(3, len(dataset.labels)))])
    named = replace(dataset, train_ids=ids)
    assert folds.frozen(named, tmp_path, 5, 0).digest == folds.frozen(named, tmp_path, 5, 0).digest


def test_a_split_changed_by_hand_is_refused(dataset, tmp_path):
    path = tmp_path / folds.frozen(dataset, tmp_path, 5, 0).name / "split.csv"
    lines = path.read_text().splitlines()
    row, fold = lines[2].split(",")
    path.write_text("\n".join([*lines[:2], f"{row},{(int(fold) + 1) % 5}", *lines[3:]]) + "\n")
    with pytest.raises(Problem, match=r"was changed after it was made.*mv "):
        folds.frozen(dataset, tmp_path, 5, 0)


def test_a_split_of_other_data_is_refused(dataset, tmp_path):
    folds.frozen(dataset, tmp_path, 5, 0)
    with pytest.raises(Problem, match="splits other data"):
        folds.frozen(replace(dataset, digest="another"), tmp_path, 5, 0)


def test_a_class_too_small_for_the_folds_is_named(dataset):
    labels = np.where(dataset.labels == 4, 3, dataset.labels)
    labels[:2] = 4
    with pytest.raises(Problem, match=r"too few for FOLDS=200"):
        folds.split(dataset, 200, 0)
    with pytest.raises(Problem, match="class 4 has 2 different images, too few for FOLDS=5"):
        folds.split(replace(dataset, labels=labels), 5, 0)


def test_one_fold_is_none(dataset):
    with pytest.raises(Problem, match="1 folds leave nothing to train on"):
        folds.split(dataset, 1, 0)


@given(
    shown=st.lists(st.integers(0, 30), min_size=20, max_size=80),  # which picture each row shows
    count=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_rows_each_is_held_out_once_and_copies_together(shown, count, seed, dataset):
    which = np.array(shown)
    labels = np.random.default_rng(seed).integers(0, 2, len(which))  # copies may contradict each other
    few = replace(dataset, images=dataset.images[which], labels=labels, classes=dataset.classes[:2])
    few = replace(few, train_ids=np.arange(len(which)), groups=np.arange(len(which)))
    try:
        held_out = folds.split(few, count, seed).held_out
    except Problem as problem:
        assert "different images, too few for FOLDS" in str(problem)
        return
    assert len(held_out) == len(which) and set(held_out) == set(range(count))
    assert all(len(set(held_out[which == picture])) == 1 for picture in which)


@given(
    shown=st.lists(st.integers(0, 300), min_size=40, max_size=120),  # which picture each row shows
    groups=st.integers(1, 30),
    count=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_groups_each_is_held_out_as_a_whole(shown, groups, count, seed, dataset):
    which, random = np.array(shown), np.random.default_rng(seed)
    group, labels = random.integers(0, groups, len(which)), random.integers(0, 2, len(which))
    few = replace(dataset, images=dataset.images[which], labels=labels, classes=dataset.classes[:2])
    few = replace(few, train_ids=np.arange(len(which)), groups=group)
    try:
        held_out = folds.split(few, count, seed).held_out
    except Problem as problem:
        assert re.search("(groups are|images,) too few for FOLDS|has too few groups: fold", str(problem))
        return
    assert set(held_out) == set(range(count))
    assert all(len(set(held_out[group == one])) == 1 for one in group)
    assert all(len(set(held_out[which == picture])) == 1 for picture in which)
    assert all(set(labels[held_out != fold]) == set(labels) for fold in range(count))


def test_groups_are_spread_over_the_folds_with_their_classes(dataset):
    group = np.arange(len(dataset.labels)) // 10
    held_out = folds.split(replace(dataset, groups=group), 5, 0).held_out
    counts = np.array([np.bincount(dataset.labels[held_out == fold], minlength=10) for fold in range(5)])
    assert (np.abs(counts / counts.mean(axis=0) - 1) < 0.35).all()


@given(
    line=st.integers(0, 601),
    edit=st.sampled_from(
        [
            lambda line: [],
            lambda line: [line, line],
            lambda line: [line.replace(",", ";")],
            lambda line: [f"{line}0"],
            lambda line: [f"0{line}"],
            lambda line: [line[:-1]],
            lambda line: [f"{line},1"],
            lambda line: [line.upper() + "x"],
        ]
    ),
)
def test_whatever_is_edited_a_split_is_refused_or_the_same(line, edit, dataset, tmp_path):
    first = folds.frozen(dataset, tmp_path, 5, 0)
    path = tmp_path / first.name / "split.csv"
    whole = path.read_text()
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:line], *edit(lines[line]), *lines[line + 1 :]]) + "\n")
    try:
        assert (folds.frozen(dataset, tmp_path, 5, 0).held_out == first.held_out).all()
    except Problem as problem:
        assert "make a new split: mv " in str(problem)
    finally:
        path.write_text(whole)
