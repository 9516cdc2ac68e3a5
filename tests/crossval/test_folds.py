import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.crossval import folds
from competition.errors import UserError


def test_each_row_is_held_out_once_and_classes_are_spread(dataset):
    split = folds.make_folds(dataset, 5, 0)
    assert split.held_out.shape == dataset.labels.shape and set(split.held_out) == set(range(5))
    counts = np.array([np.bincount(dataset.labels[split.held_out == fold], minlength=10) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 2


def test_label_sets_are_spread_and_a_label_with_a_single_row_is_allowed(label_dataset):
    rare = np.arange(len(label_dataset.labels)) == 5
    data = replace(label_dataset, labels=np.column_stack([label_dataset.labels, rare]).astype(np.uint8))
    split = folds.make_folds(data, 5, 0)
    sets = np.unique(label_dataset.labels, axis=0, return_inverse=True)[1]
    counts = np.array([np.bincount(sets[split.held_out == fold]) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 3
    assert split.digest == folds.make_folds(data, 5, 0).digest


def test_rare_label_sets_are_stratified_by_their_rarest_label():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 12)) < 0.3).astype(np.uint8)  # almost every set occurs once
    labels[:, 0] = rng.random(400) < 0.05
    strata = folds.stratify(labels, 5)
    assert np.unique(strata, return_counts=True)[1].min() >= 5
    (with_rarest,) = {frozenset(strata[labels[:, 0] == 1])}
    assert len(with_rarest) == 1 and set(strata[labels[:, 0] == 0]).isdisjoint(with_rarest)


def test_numbers_are_stratified_by_quantiles(number_dataset):
    split = folds.make_folds(number_dataset, 5, 0)
    means = [number_dataset.labels[split.held_out == fold].mean() for fold in range(5)]
    assert np.ptp(means) < 0.15
    mostly_zero = np.where(np.arange(100) < 97, 0, np.arange(100)).astype(np.float32)
    assert np.unique(folds.stratify(mostly_zero, 5), return_counts=True)[1].min() >= 5


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_groups_of_label_sets_and_numbers_are_held_out_together(kind, label_dataset, number_dataset):
    data = label_dataset if kind == "labels" else number_dataset
    groups = np.arange(len(data.labels)) // 4
    split = folds.make_folds(replace(data, groups=groups), 3, 0)
    assert all(len(set(split.held_out[groups == group])) == 1 for group in range(20))


def test_exact_duplicates_are_held_out_together(dataset):
    images = dataset.images.copy()
    images[100:140] = images[7]  # forty copies of one image, with any labels
    split = folds.make_folds(replace(dataset, images=images), 5, 0)
    assert len(set(split.held_out[[7, *range(100, 140)]])) == 1


def test_another_seed_makes_another_split(dataset):
    first, second = folds.make_folds(dataset, 5, 0), folds.make_folds(dataset, 5, 1)
    assert first.digest != second.digest and (first.held_out != second.held_out).mean() > 0.5
    assert folds.make_folds(dataset, 5, 0).digest == first.digest


def test_a_saved_split_is_reused_alongside_others(dataset, tmp_path):
    first = folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    stamp = (tmp_path / first.name / "split.csv").read_bytes()
    folds.load_or_make_folds(dataset, tmp_path, 3, 0)
    folds.load_or_make_folds(dataset, tmp_path, 5, 1)
    again = folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    assert again.digest == first.digest and (again.held_out == first.held_out).all()
    assert (tmp_path / first.name / "split.csv").read_bytes() == stamp
    assert len(list(tmp_path.iterdir())) == 3


def test_a_split_is_recorded_by_row_id(dataset, tmp_path):
    first = folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    path = tmp_path / first.name / "split.csv"
    stamp, header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([stamp, header, *reversed(rows)]) + "\n")
    assert (folds.load_or_make_folds(dataset, tmp_path, 5, 0).held_out == first.held_out).all()


def test_ids_are_read_as_written(dataset, tmp_path):
    ids = np.array(["img#1", "NA", "007", *(f"{row}.png" for row in range(3, len(dataset.labels)))])
    named = replace(dataset, train_ids=ids)
    assert (
        folds.load_or_make_folds(named, tmp_path, 5, 0).digest == folds.load_or_make_folds(named, tmp_path, 5, 0).digest
    )


def test_an_edited_split_is_rejected(dataset, tmp_path):
    path = tmp_path / folds.load_or_make_folds(dataset, tmp_path, 5, 0).name / "split.csv"
    lines = path.read_text().splitlines()
    row, fold = lines[2].split(",")
    path.write_text("\n".join([*lines[:2], f"{row},{(int(fold) + 1) % 5}", *lines[3:]]) + "\n")
    with pytest.raises(UserError, match=r"was modified or is damaged.*mv "):
        folds.load_or_make_folds(dataset, tmp_path, 5, 0)


def test_a_split_of_other_data_is_rejected(dataset, tmp_path):
    folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    with pytest.raises(UserError, match="belongs to different data"):
        folds.load_or_make_folds(replace(dataset, digest="another"), tmp_path, 5, 0)


def test_a_class_too_small_for_the_folds_is_reported(dataset):
    labels = np.where(dataset.labels == 4, 3, dataset.labels)
    labels[:2] = 4
    with pytest.raises(UserError, match=r"too few for FOLDS=200"):
        folds.make_folds(dataset, 200, 0)
    with pytest.raises(UserError, match="class 4 has only 2 distinct images, too few for FOLDS=5"):
        folds.make_folds(replace(dataset, labels=labels), 5, 0)


def test_one_fold_is_rejected(dataset):
    with pytest.raises(UserError, match="FOLDS=1 leaves nothing to train on"):
        folds.make_folds(dataset, 1, 0)


@given(
    shown=st.lists(st.integers(0, 30), min_size=20, max_size=80),  # the image of each row
    count=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_row_is_held_out_once_and_copies_together(shown, count, seed, dataset):
    image_of_row = np.array(shown)
    labels = np.random.default_rng(seed).integers(0, 2, len(image_of_row))  # copies may have different labels
    few = replace(dataset, images=dataset.images[image_of_row], labels=labels, classes=dataset.classes[:2])
    few = replace(few, train_ids=np.arange(len(image_of_row)), groups=np.arange(len(image_of_row)))
    try:
        held_out = folds.make_folds(few, count, seed).held_out
    except UserError as error:
        assert re.search("distinct images?, too few for FOLDS", str(error))
        return
    assert len(held_out) == len(image_of_row) and set(held_out) == set(range(count))
    assert all(len(set(held_out[image_of_row == image])) == 1 for image in image_of_row)


@given(
    shown=st.lists(st.integers(0, 300), min_size=40, max_size=120),  # the image of each row
    groups=st.integers(1, 30),
    count=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_group_is_held_out_as_a_whole(shown, groups, count, seed, dataset):
    image_of_row, random = np.array(shown), np.random.default_rng(seed)
    group, labels = random.integers(0, groups, len(image_of_row)), random.integers(0, 2, len(image_of_row))
    few = replace(dataset, images=dataset.images[image_of_row], labels=labels, classes=dataset.classes[:2])
    few = replace(few, train_ids=np.arange(len(image_of_row)), groups=group)
    try:
        held_out = folds.make_folds(few, count, seed).held_out
    except UserError as error:
        assert re.search(
            "(groups are|images?,) too few for FOLDS|has too few groups or distinct|all rows are in one group",
            str(error),
        )
        return
    assert set(held_out) == set(range(count))
    assert all(len(set(held_out[group == number])) == 1 for number in group)
    assert all(len(set(held_out[image_of_row == image])) == 1 for image in image_of_row)
    assert all(set(labels[held_out != fold]) == set(labels) for fold in range(count))


def test_a_single_group_cannot_be_split(dataset):
    with pytest.raises(UserError, match=r"all rows are in one group, .*check `group` in competition\.toml"):
        folds.make_folds(replace(dataset, groups=np.zeros(len(dataset.labels), dtype=int)), 2, 0)


def test_groups_are_spread_over_the_folds_with_their_classes(dataset):
    group = np.arange(len(dataset.labels)) // 10
    held_out = folds.make_folds(replace(dataset, groups=group), 5, 0).held_out
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
def test_an_edited_split_is_rejected_or_equal(line, edit, dataset, tmp_path):
    first = folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    path = tmp_path / first.name / "split.csv"
    whole = path.read_text()
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:line], *edit(lines[line]), *lines[line + 1 :]]) + "\n")
    try:
        assert (folds.load_or_make_folds(dataset, tmp_path, 5, 0).held_out == first.held_out).all()
    except UserError as error:
        assert ": mv " in str(error)
    finally:
        path.write_text(whole)


def test_many_classes_of_one_image_are_held_out_like_others(dataset):
    labels = np.concatenate([np.arange(580) % 5, 5 + np.arange(20)])
    rare = replace(dataset, labels=labels, classes=np.arange(25))
    held_out = folds.make_folds(rare, 5, 0).held_out
    assert set(held_out) == set(range(5)) and np.bincount(held_out).min() > 100
    assert all(np.bincount(held_out[labels == label]).min() > 20 for label in range(5))


def with_counts(dataset, counts):
    """A dataset with so many distinct images of each class."""
    rows, classes = sum(counts), np.arange(len(counts))
    few = replace(dataset, images=dataset.images[:rows], labels=np.repeat(classes, counts), classes=classes)
    return replace(few, train_ids=np.arange(rows), groups=np.arange(rows))


ABOVE = "class {} has only {}, too few for FOLDS=5; {}"


@pytest.mark.parametrize(
    ("counts", "error"),
    [
        ([5] * 4, None),
        ([5, 5, 5, 4], ABOVE.format(3, "4 distinct images", "use at most FOLDS=4")),
        ([5, 2, 5, 5], ABOVE.format(1, "2 distinct images", "use at most FOLDS=2")),
        ([5, 5, 1, 5], ABOVE.format(2, "1 distinct image", "add images of this class or remove it")),
        ([5, 5, 0, 5], ABOVE.format(2, "0 distinct images", "add images of this class or remove it")),
        ([5, 5, 5, 0], ABOVE.format(3, "0 distinct images", "add images of this class or remove it")),
        ([*[9] * 27, 2, 2, 2], None),  # three rare classes of thirty
        ([*[9] * 28, 2, 2, 2], ABOVE.format(28, "2 distinct images", "use at most FOLDS=2")),  # of 31
        ([9, 9, 2, 2], ABOVE.format(2, "2 distinct images", "use at most FOLDS=2")),  # only two
        ([9, 3, 3, 3], ABOVE.format(1, "3 distinct images", "use at most FOLDS=3")),  # not that rare
        ([5, 1, 1, 1], None),
        ([4, 1, 1, 1], ABOVE.format(1, "1 distinct image", "add images of this class or remove it")),
    ],
)
def test_rare_classes_are_allowed_only_if_they_are_many(counts, error, dataset):
    data = with_counts(dataset, counts)
    if error is None:
        assert set(folds.make_folds(data, 5, 0).held_out) == set(range(5))
        return
    with pytest.raises(UserError) as caught:
        folds.make_folds(data, 5, 0)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("rows", "strata"),
    [
        ([9, 5, 5], [{0}, {1}, {2}]),
        ([9, 5, 4], [{0}, {1, 2}]),  # too few are merged with the smallest other stratum
        ([5, 9, 1], [{0, 2}, {1}]),
        ([9, 5, 2, 3], [{0}, {1}, {2, 3}]),  # together they are enough
        ([9, 5, 2, 2], [{0}, {1, 2, 3}]),
        ([2, 1], [{0, 1}]),
    ],
)
def test_strata_with_too_few_rows_are_merged(rows, strata):
    sets = np.eye(len(rows), dtype=np.uint8)  # each label alone
    names = np.repeat(np.arange(len(rows)), rows)
    actual = folds.stratify(sets[names], 5)
    merged = {frozenset(names[actual == stratum].tolist()) for stratum in actual}
    assert merged == set(map(frozenset, strata))


def test_the_seed_determines_the_split_of_groups(dataset):
    grouped = replace(dataset, groups=np.arange(len(dataset.labels)) // 3)
    first, again, other = (folds.make_folds(grouped, 5, seed) for seed in (1, 1, 2))
    assert (first.held_out == again.held_out).all() and first.digest == again.digest
    assert (first.held_out != other.held_out).mean() > 0.5


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"# split \xff of data x\n"])
def test_a_split_without_its_first_line_is_rejected_with_the_command_that_moves_it_away(damage, dataset, tmp_path):
    path = tmp_path / "a b" / folds.load_or_make_folds(dataset, tmp_path / "a b", 5, 0).name / "split.csv"
    path.write_bytes(damage)
    with pytest.raises(UserError) as error:
        folds.load_or_make_folds(dataset, tmp_path / "a b", 5, 0)
    remedy = f"mv '{path.parent}' '{path.parent}.old'"
    assert str(error.value) == f"{path} belongs to different data; restore the data, or make a new split: {remedy}"


def test_a_modified_split_is_rejected_with_the_command_that_makes_it_again(dataset, tmp_path):
    path = tmp_path / folds.load_or_make_folds(dataset, tmp_path, 5, 0).name / "split.csv"
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"\xff")
    with pytest.raises(UserError) as error:
        folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    assert str(error.value) == (
        f"{path} was modified or is damaged; make the same split again: rm {path}; "
        f"or make a new split: mv {path.parent} {path.parent}.old"
    )
    path.unlink()
    folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    assert path.read_bytes() == content


def test_the_file_of_a_split_has_the_columns_id_and_fold(dataset, tmp_path):
    split = folds.load_or_make_folds(dataset, tmp_path, 5, 0)
    stamp, header, *rows = (tmp_path / "5-folds-seed-0" / "split.csv").read_bytes().decode().split("\n")
    assert stamp == f"# split {split.digest} of data {dataset.digest}" and header == "id,fold"
    expected = [f"{row},{fold}" for row, fold in zip(dataset.train_ids, split.held_out, strict=True)]
    assert rows == [*expected, ""] and split.digest == hashlib.sha256("\n".join(expected).encode()).hexdigest()


def test_a_split_with_its_last_row_twice_is_rejected(dataset, tmp_path):
    path = tmp_path / folds.load_or_make_folds(dataset, tmp_path, 5, 0).name / "split.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(UserError, match="was modified or is damaged"):
        folds.load_or_make_folds(dataset, tmp_path, 5, 0)


def error_message(data, count):
    with pytest.raises(UserError) as error:
        folds.make_folds(data, count, 0)
    return str(error.value)


def test_errors_of_too_few_folds_images_or_groups(dataset, number_dataset):
    assert error_message(dataset, 1) == "FOLDS=1 leaves nothing to train on; use FOLDS=2 or more"
    images = number_dataset.images[np.arange(len(number_dataset.labels)) % 3]
    few = replace(number_dataset, images=images)
    assert error_message(few, 4) == "3 distinct images are too few for FOLDS=4; add images"
    groups = np.arange(len(number_dataset.labels)) % 3
    assert (
        error_message(replace(number_dataset, groups=groups), 5)
        == "3 groups are too few for FOLDS=5; use at most FOLDS=3"
    )
    alone = replace(number_dataset, groups=np.zeros(len(groups), dtype=int))
    assert (
        error_message(alone, 2)
        == "all rows are in one group, so they cannot be split; check `group` in competition.toml"
    )


def test_as_many_images_or_groups_as_folds_are_enough(number_dataset):
    rows = np.arange(len(number_dataset.labels))
    few = replace(number_dataset, images=number_dataset.images[rows % 3])
    assert [len(set(folds.make_folds(few, 3, 0).held_out[rows % 3 == image])) for image in range(3)] == [1, 1, 1]
    grouped = replace(number_dataset, groups=rows % 3)
    assert set(folds.make_folds(grouped, 3, 0).held_out) == {0, 1, 2}


def test_a_class_whose_groups_are_all_held_out_at_once_is_an_error(dataset):
    labels = np.where(dataset.labels == 7, 7, dataset.labels % 7)
    groups = np.where(labels == 7, 1_000, np.arange(len(labels)))
    expected = (
        r"class 7 has too few groups or distinct images: fold [0-4] holds out all of them; "
        r"try fewer folds or, if groups do not matter, set group = false in competition\.toml"
    )
    data = replace(dataset, labels=labels, classes=np.arange(8), groups=groups)
    assert re.fullmatch(expected, error_message(data, 5))
    both = replace(data, labels=np.where(labels == 6, 7, np.where(labels == 7, 6, labels)))
    both = replace(both, groups=np.where(both.labels >= 6, 1_000 + both.labels, np.arange(len(labels))))
    assert re.fullmatch(expected.replace("class 7", "class [67]"), error_message(both, 5))


def test_the_split_of_models_on_all_rows_holds_out_nothing(dataset):
    split = folds.all_rows(dataset, 4)
    assert (split.held_out == folds.NEVER).all() and split.held_out.dtype == np.int32
    assert (split.count, split.seed, split.name, split.training_rows) == (4, 0, "all-rows", len(dataset.labels))
    assert split.digest == folds.all_rows(dataset, 1).digest != folds.make_folds(dataset, 4, 0).digest
    renamed = replace(dataset, train_ids=dataset.train_ids + 1)
    assert folds.all_rows(renamed, 4).digest != split.digest


@pytest.mark.parametrize(("rows", "strata"), [(5, 1), (9, 1), (10, 2), (24, 4), (50, 10), (500, 10)])
def test_numbers_are_divided_into_quantiles_of_at_least_as_many_rows_as_folds(rows, strata):
    actual = folds.stratify(np.arange(rows, dtype=np.float32), 5)
    counts = np.unique(actual, return_counts=True)[1]
    assert len(counts) == strata and counts.min() >= 5 and np.ptp(counts) <= 1 + rows // 50
    assert (np.diff(actual) >= 0).all()  # neighbours in order share a stratum


def test_a_label_of_all_rows_is_less_rare_than_none():
    labels = np.column_stack([np.ones(12), np.arange(12) < 4]).astype(np.uint8)
    labels = np.concatenate([labels, np.zeros((3, 2), dtype=np.uint8)])
    strata = folds.stratify(labels, 4)
    assert len(set(strata[:4])) == 1 and len(set(strata[4:12])) == 1 and strata[0] != strata[4]


def test_a_set_with_as_many_rows_as_folds_is_a_stratum_of_its_own():
    labels = np.repeat(np.array([[1, 0], [1, 1]], dtype=np.uint8), [8, 4], axis=0)
    strata = folds.stratify(labels, 4)
    assert len(set(strata)) == 2 and len(set(strata[8:])) == 1
