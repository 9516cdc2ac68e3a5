import numpy as np
import pandas as pd
import pytest
from conftest import small_digits

from competition.data.config import FILE, Rules, read
from competition.data.dataset import layout, load
from competition.errors import Problem


def tell(folder, text):
    (folder / FILE).write_text(text)
    return folder


def test_without_a_file_everything_is_inferred(tmp_path):
    assert read(tmp_path) == Rules() and Rules().text == ""


def test_the_columns_and_the_shape_may_be_told(tmp_path):
    told = tell(tmp_path, 'label = "diagnosis"\nid = "image"\ngroup = "patient"\nshape = [32, 24]\n')
    assert read(told) == Rules("diagnosis", "image", "patient", (32, 24, 1))
    assert read(tell(tmp_path, "shape = [32, 24, 3]")).shape == (32, 24, 3)


def test_images_that_are_no_squares_have_no_quarter_turns(own_competition):
    tell(own_competition, 'symmetries = ["left-right", "quarter turns"]\nshape = [32, 8]')
    with pytest.raises(Problem, match=r"competition\.toml: quarter turns need square images; these are 32x8"):
        layout(own_competition)


def test_what_is_made_of_images_and_answers_changes_no_data(tmp_path):
    told = read(tell(tmp_path, 'symmetries = ["quarter turns", "left-right"]\nmetric = "QWK"\nanswer = "labels"'))
    assert told == Rules(symmetries=("left-right", "quarter turns"), metric="QWK", answer="labels") and told.text == ""
    assert read(tell(tmp_path, "symmetries = []")).symmetries == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: digit", "competition.toml cannot be read: Expected '='"),
        (
            'colour = "red"',
            "colour is unknown; there are label, id, group, shape, symmetries, limits, metric, answer, public",
        ),
        ("label = 7", 'label is 7; a column was expected, such as label = "name"'),
        ('group = ""', "group is ''; a column was expected"),
        ("shape = 28", "shape is 28; height, width and channels were expected, such as shape = "),
        ("shape = [28]", r"shape is \[28\]; height, width"),
        ("shape = [28, 28, 2]", r"shape is \[28, 28, 2\]; height, width"),
        ("shape = [28, 0]", r"shape is \[28, 0\]; height, width"),
        ('symmetries = "left-right"', "symmetries is 'left-right'; a list was expected, empty or of \"left-right\", "),
        ('symmetries = ["left"]', r"symmetries is \['left'\]; a list was expected"),
        (
            "limits = {colour = 1}",
            r"limits is {'colour': 1}; numbers from 0 were expected of rotation, shift, zoom, shear",
        ),
        ("limits = {zoom = -1}", r"limits is {'zoom': -1}; numbers from 0"),
        ("public = 30", "public is 30; a share above 0 and up to 1 was expected, such as public = 0.3"),
        ('answer = "both"', 'answer is \'both\'; "labels" or "probabilities" was expected'),
        ("metric = 3", "metric is 3; a metric was expected, such as metric = "),
        ("shape = [28, true]", r"shape is \[28, True\]; height, width"),
    ],
)
def test_what_cannot_be_meant_is_told(text, message, tmp_path):
    with pytest.raises(Problem, match=message):
        read(tell(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label = "digit"', r"train\.csv has no column digit, which competition\.toml names as the label"),
        ('group = "writer"', r"train\.csv has no column writer, which competition\.toml names as the group"),
        ('id = "name"', r"train\.csv and test\.csv have no column name, which competition\.toml names as the id"),
        ("shape = [16, 8]", r"train\.csv has 256 pixel columns; images of 16x8x1, as competition\.toml has it, have"),
    ],
)
def test_what_the_files_do_not_have_is_told(text, message, own_competition):
    with pytest.raises(Problem, match=message):
        load(tell(own_competition, text))


@pytest.mark.parametrize("files", [("train.csv", "test.csv"), ("test.csv",)])
def test_a_column_that_is_no_pixel_is_told_of_with_what_it_may_be(files, own_competition):
    for file in files:
        table = pd.read_csv(own_competition / file)
        source = pd.Series("scanner", table.index, name="source")
        pd.concat([source, table], axis=1).to_csv(own_competition / file, index=False)
    with pytest.raises(Problem, match=r'column source.*; leave it out, or.*competition\.toml: id = "source"'):
        load(own_competition)


def test_a_shape_that_is_told_is_the_images(own_competition):
    before = load(own_competition)
    after = load(tell(own_competition, "shape = [32, 8]"))
    assert after.images.shape[1:] == (32, 8, 1) and (after.images.ravel() == before.images.ravel()).all()
    assert after.digest != before.digest  # it has predictions of its own


def test_pixels_for_three_channels_make_coloured_squares(own_competition):
    for file in ("train.csv", "test.csv"):
        table = pd.read_csv(own_competition / file).iloc[:, : 192 + (file == "train.csv")]
        table.to_csv(own_competition / file, index=False)
    dataset = load(own_competition)
    assert dataset.images.shape[1:] == (8, 8, 3) and dataset.test_images.shape[1:] == (8, 8, 3)
    images, _ = small_digits()
    assert (dataset.images[0, 0, 1] == images[0, 3:6]).all()  # channels are last


def test_a_column_may_name_groups(own_competition):
    path = own_competition / "train.csv"
    table = pd.read_csv(path)
    writers = pd.Series([f"w{row // 7}" for row in range(len(table))], name="writer")
    table = pd.concat([writers, table], axis=1)
    table.to_csv(path, index=False)
    with pytest.raises(Problem, match=r"test\.csv lacks column writer, .*competition\.toml: group = "):
        load(own_competition)
    dataset = load(tell(own_competition, 'group = "writer"'))
    assert dataset.images.shape[1:] == (16, 16, 1)
    groups = [set(np.unique(dataset.groups[row : row + 7])) for row in range(0, len(table), 7)]
    assert all(len(group) == 1 for group in groups) and len(set.union(*groups)) == len(groups)
    table.loc[3, "writer"] = None
    table.to_csv(path, index=False)
    with pytest.raises(Problem, match=r"row 4 \(line 5\), column writer: found nothing where a group belongs"):
        load(own_competition)
