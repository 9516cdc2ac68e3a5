import numpy as np
import pandas as pd
import pytest
from conftest import small_digits

from competition.data.config import CONFIG_FILE, Config, read_config
from competition.data.dataset import load_dataset
from competition.errors import UserError


def write_config(folder, text):
    (folder / CONFIG_FILE).write_text(text)
    return folder


def test_without_a_file_everything_is_inferred(tmp_path):
    assert read_config(tmp_path) == Config() and Config().data_settings == ""


def test_columns_and_shape_are_configurable(tmp_path):
    folder = write_config(tmp_path, 'label = "diagnosis"\nid = "image"\ngroup = "patient"\nshape = [32, 24]\n')
    assert read_config(folder) == Config("diagnosis", "image", "patient", shape=(32, 24, 1))
    assert read_config(write_config(tmp_path, "shape = [32, 24, 3]")).shape == (32, 24, 3)


def test_quarter_turns_need_square_images(competition_copy):
    write_config(competition_copy, 'symmetries = ["left-right", "quarter turns"]\nshape = [32, 8]')
    with pytest.raises(UserError, match=r"competition\.toml: quarter turns need square images, but these are 32x8"):
        load_dataset(competition_copy)


def test_symmetries_metric_and_submission_do_not_change_the_data(tmp_path):
    config = read_config(
        write_config(tmp_path, 'symmetries = ["quarter turns", "left-right"]\nmetric = "QWK"\nsubmission = "labels"')
    )
    assert config == Config(symmetries=("left-right", "quarter turns"), metric="QWK", submission="labels")
    assert config.data_settings == ""
    assert read_config(write_config(tmp_path, "symmetries = []")).symmetries == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: digit", "cannot read .*competition.toml: Expected '='"),
        (
            'colour = "red"',
            "unknown key colour; choose from label, id, group, target, extra, shape, size, symmetries, limits, "
            "augmentation, length, metric",
        ),
        ("label = 7", 'label: expected a column name, e.g. label = "name", got 7'),
        ('group = ""', "group: expected a column name, .* got ''"),
        ("shape = 28", r"shape: expected height, width and channels \(1 or 3\), e.g. shape = .* got 28"),
        ("shape = [28]", r"shape: expected height, width .* got \[28\]"),
        ("shape = [28, 28, 2]", r"shape: expected height, width .* got \[28, 28, 2\]"),
        ("shape = [28, 0]", r"shape: expected height, width .* got \[28, 0\]"),
        ('symmetries = "left-right"', "symmetries: expected a list of any of \"left-right\", .* got 'left-right'"),
        ('symmetries = ["left"]', r"symmetries: expected a list .* got \['left'\]"),
        (
            "limits = {colour = 1}",
            r"limits: expected numbers >= 0 for any of rotation, shift, zoom, shear, .* got {'colour': 1}",
        ),
        ("augmentation = -1", "augmentation: expected a number >= 0, e.g. augmentation = 0.5, got -1"),
        ("length = 0", "length: expected a number above 0, e.g. length = 2, got 0"),
        ("length = inf", "length: expected a number above 0, e.g. length = 2, got inf"),
        ("augmentation = inf", "augmentation: expected a number >= 0, e.g. augmentation = 0.5, got inf"),
        ("limits = {zoom = -1}", r"limits: expected numbers >= 0 .* got {'zoom': -1}"),
        ("public = 30", "public: expected a fraction above 0 and at most 1, e.g. public = 0.3, got 30"),
        (
            'submission = "both"',
            'submission: expected one of "labels", "probabilities", "ranked", "number", got \'both\'',
        ),
        ("metric = 3", "metric: expected a metric, e.g. metric = .* got 3"),
        ("pretrained = 1", 'pretrained: expected true, false, the name of a network, e.g. pretrained = "Efficient'),
        (
            "pretrained = {network = 'VGG16'}",
            "with any of model, weights, size, scale, mean, std, got {'network'",
        ),
        ("pretrained = {size = 4}", "pretrained.size: expected a number of pixels from 8, e.g. pretrained.size = 96"),
        ("pretrained = {scale = 0}", "pretrained.scale: expected a number above 0, e.g. pretrained.scale = 255, got 0"),
        (
            "pretrained = {std = [1, 0, 1]}",
            r"pretrained.std: expected three numbers, .* got \[1, 0, 1\]",
        ),
        ("pretrained = {weights = 3}", "pretrained.weights: expected a name, got 3"),
        ("shape = [28, true]", r"shape: expected height, width .* got \[28, True\]"),
    ],
)
def test_an_invalid_setting_is_rejected(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_config(write_config(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label = "digit"', r"train\.csv has no column digit, which competition\.toml names as the label"),
        ('group = "writer"', r"train\.csv has no column writer, which competition\.toml names as the group"),
        ('id = "name"', r"train\.csv and test\.csv have no column name, which competition\.toml names as the id"),
        ("shape = [16, 8]", r"train\.csv has 256 pixel columns, but the shape in competition\.toml, 16x8x1, needs 128"),
    ],
)
def test_a_setting_that_does_not_fit_the_files_is_rejected(text, message, competition_copy):
    with pytest.raises(UserError, match=message):
        load_dataset(write_config(competition_copy, text))


@pytest.mark.parametrize("files", [("train.csv", "test.csv"), ("test.csv",)])
def test_an_unknown_column_is_reported_with_the_setting_for_its_role(files, competition_copy):
    for file in files:
        table = pd.read_csv(competition_copy / file)
        source = pd.Series("scanner", table.index, name="source")
        pd.concat([source, table], axis=1).to_csv(competition_copy / file, index=False)
    with pytest.raises(UserError, match=r'column source.*; remove it,? or.* id = "source"'):
        load_dataset(competition_copy)


def test_the_configured_shape_is_used(competition_copy):
    before = load_dataset(competition_copy)
    after = load_dataset(write_config(competition_copy, "shape = [32, 8]"))
    assert after.images.shape[1:] == (32, 8, 1) and (after.images.ravel() == before.images.ravel()).all()
    assert after.digest != before.digest  # so that its predictions are stored separately


def test_square_images_with_three_channels_are_detected(competition_copy):
    for file in ("train.csv", "test.csv"):
        table = pd.read_csv(competition_copy / file).iloc[:, : 192 + (file == "train.csv")]
        table.to_csv(competition_copy / file, index=False)
    dataset = load_dataset(competition_copy)
    assert dataset.images.shape[1:] == (8, 8, 3) and dataset.test_images.shape[1:] == (8, 8, 3)
    images, _ = small_digits()
    assert (dataset.images[0, 0, 1] == images[0, 3:6]).all()  # channels are last


def test_a_group_column_is_read(competition_copy):
    path = competition_copy / "train.csv"
    table = pd.read_csv(path)
    writers = pd.Series([f"w{row // 7}" for row in range(len(table))], name="writer")
    table = pd.concat([writers, table], axis=1)
    table.to_csv(path, index=False)
    dataset = load_dataset(competition_copy)  # recognized by its name
    assert dataset.images.shape[1:] == (16, 16, 1) and dataset.layout.group == "writer"
    ungrouped = load_dataset(write_config(competition_copy, "group = false"))
    assert len(set(ungrouped.groups)) == len(table) and (ungrouped.images == dataset.images).all()
    dataset = load_dataset(write_config(competition_copy, 'group = "writer"'))
    groups = [set(np.unique(dataset.groups[row : row + 7])) for row in range(0, len(table), 7)]
    assert all(len(group) == 1 for group in groups) and len(set.union(*groups)) == len(groups)
    table.loc[3, "writer"] = None
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"row 4 \(line 5\), column writer: expected a group, found nothing"):
        load_dataset(competition_copy)


@pytest.mark.parametrize("content", [b"size = ", b"size = \xff", b"size = " + b"9" * 5000, b"limits = " + b"[" * 5000])
def test_a_damaged_file_is_rejected_in_one_line(content, tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"^cannot read .*competition\.toml: .*$"):
        read_config(tmp_path)
