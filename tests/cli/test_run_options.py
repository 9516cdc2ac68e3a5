"""Defaults of a run."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition.cli import run as run_module
from competition.cli.run import (
    BEST_MANY_GLYPHS_MODELS,
    BEST_PRETRAINED_MODELS,
    COLUMN_MODELS,
    MANY_CLASSES,
    MANY_CLASSES_MODELS,
    MANY_GLYPHS_MODELS,
    OTHER_MODELS,
    PRETRAINED_MODELS,
    Competition,
    Run,
)
from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.data.config import Config, PretrainedNetwork
from competition.data.features import Features
from competition.errors import UserError
from competition.models.registry import LISTS_OF_MODELS, available_models


def member_names(dataset, models) -> list[str]:
    """The members of a run on these rows."""
    return [member.name for member in Competition("small", Config(), dataset).members(models)]


def test_default_models_are_used_if_none_are_named(dataset, capsys):
    assert member_names(dataset, None) == list(OTHER_MODELS) and capsys.readouterr().out == ""


def glyphs(dataset):
    """The digits with a black border."""
    return replace(dataset, images=np.pad(dataset.images, ((0, 0), (4, 4), (4, 4), (0, 0))))


@pytest.fixture
def few_rows_suffice(dataset, monkeypatch):
    monkeypatch.setattr(run_module, "MANY_GLYPHS", len(dataset.labels))


def test_small_glyph_datasets_use_the_models_of_other_images(dataset, monkeypatch):
    monkeypatch.setattr(run_module, "MANY_GLYPHS", len(dataset.labels) + 1)
    assert member_names(glyphs(dataset), None) == list(OTHER_MODELS)


@pytest.mark.usefixtures("few_rows_suffice")
def test_many_glyphs_on_black_or_white_have_other_models(dataset):
    assert member_names(glyphs(dataset), None) == list(MANY_GLYPHS_MODELS)
    assert member_names(replace(dataset, images=255 - glyphs(dataset).images), None) == list(MANY_GLYPHS_MODELS)
    in_colour = np.repeat(glyphs(dataset).images, 3, axis=3)
    assert member_names(replace(dataset, images=in_colour), None) == list(OTHER_MODELS)


@pytest.mark.usefixtures("few_rows_suffice")
@pytest.mark.parametrize(
    ("classes", "models"), [(MANY_CLASSES - 1, MANY_GLYPHS_MODELS), (MANY_CLASSES, MANY_CLASSES_MODELS)]
)
def test_many_classes_have_other_models(classes, models, dataset):
    labels = np.arange(len(dataset.labels)) % classes
    many = replace(glyphs(dataset), labels=labels, classes=np.arange(classes).astype(str))
    assert member_names(many, None) == list(models)
    label_sets = replace(many, labels=np.eye(classes, dtype=np.uint8)[labels])
    assert member_names(label_sets, None) == [name for name in MANY_GLYPHS_MODELS if name != "svm"]


def test_column_models_are_trained_by_default_where_there_are_any(dataset_with_columns, capsys):
    assert member_names(dataset_with_columns, None) == [*COLUMN_MODELS, *OTHER_MODELS]
    assert capsys.readouterr().out == ""


def test_all_models_include_those_of_columns_only_where_there_are_any(dataset, dataset_with_columns):
    pretrained = set(BEST_PRETRAINED_MODELS) - {"resnet"}
    assert set(available_models()) - set(member_names(dataset_with_columns, ["all"])) == pretrained
    assert set(available_models()) - set(member_names(dataset, ["all"])) == {*COLUMN_MODELS, *pretrained}


@pytest.fixture
def photographs(dataset, tmp_path, pretrained_wheel):
    """The digits, with features of a pretrained network that are not extracted yet."""
    shutil.copy(pretrained_wheel, tmp_path)
    return replace(dataset, features=Features(tmp_path / "small" / "cache" / "features" / "0", "0", 1280))


def test_the_best_models_of_photographs_include_a_fine_tuned_network(photographs):
    assert member_names(photographs, None) == list(PRETRAINED_MODELS)
    assert member_names(photographs, ["best"]) == [*PRETRAINED_MODELS, "finetuned"]
    assert set(BEST_PRETRAINED_MODELS) < set(member_names(photographs, ["all"]))


def test_another_pretrained_network_is_not_fine_tuned(photographs):
    named = Competition("small", Config(pretrained=PretrainedNetwork("MobileNet")), photographs)
    assert [member.name for member in named.members(["best"])] == [*PRETRAINED_MODELS, "resnet.1"]
    assert "finetuned" not in [member.name for member in named.members(["all"])]
    with pytest.raises(
        UserError, match=r"finetuned fine-tunes EfficientNet-Lite0, but `pretrained` names another network in "
    ):
        named.members(["finetuned"])


def test_no_network_is_fine_tuned_where_outside_weights_are_forbidden(dataset):
    with pytest.raises(UserError, match="finetuned learns from a pretrained network, which small does not use"):
        member_names(dataset, ["finetuned"])


@pytest.mark.usefixtures("few_rows_suffice")
def test_the_best_models_of_glyphs_are_longer_networks_and_of_others_another_seed_of_each(
    dataset, dataset_with_columns, label_dataset
):
    assert member_names(glyphs(dataset), ["best"]) == list(BEST_MANY_GLYPHS_MODELS)
    assert member_names(dataset, ["best"]) == [*OTHER_MODELS, "detail.1"]
    assert member_names(dataset_with_columns, ["best"])[:2] == list(COLUMN_MODELS)
    assert "svm" not in member_names(label_dataset, ["best"])


def test_an_empty_list_of_models_is_the_default(dataset, tmp_path):
    competition, store = Competition("small", Config(), dataset), Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    assert [member.name for member in run_module.default_members(competition, store, ())] == list(OTHER_MODELS)
    assert [member.name for member in competition.members(())] == list(OTHER_MODELS)


@pytest.mark.usefixtures("few_rows_suffice")
def test_the_best_models_leave_out_what_the_default_models_do(dataset, tmp_path, capsys):
    rare = glyphs(dataset)
    labels = np.where(np.arange(len(rare.labels)) < 4, 10, rare.labels)
    rare = replace(rare, labels=labels, classes=np.append(rare.classes, "rare"))
    competition = Competition("small", Config(), rare)
    store = Store(tmp_path, rare, make_folds(rare, 2, 0))
    names = [member.name for member in run_module.default_members(competition, store, ["best"])]
    assert names == [name for name in BEST_MANY_GLYPHS_MODELS if name not in ("svm", "knn")]
    assert "left out: svm knn (they need 3 training images of each class; rare has 2)" in capsys.readouterr().out


@pytest.mark.parametrize("name", LISTS_OF_MODELS)
def test_a_list_of_models_is_used_alone(name, dataset):
    with pytest.raises(UserError, match=f"`{name}` cannot be combined with other models"):
        member_names(dataset, [name, "knn"])


def test_a_model_of_columns_is_rejected_where_there_are_none(dataset, dataset_with_columns):
    assert member_names(dataset_with_columns, ["knn", "logistic"]) == ["knn", "logistic"]
    with pytest.raises(
        UserError, match=r"logistic learns from columns alongside the images, but small has none; .*MODELS="
    ):
        member_names(dataset, ["knn", "logistic"])


def test_svm_is_no_default_for_label_sets(label_dataset, number_dataset):
    assert member_names(label_dataset, None) == [name for name in OTHER_MODELS if name != "svm"]
    assert member_names(number_dataset, None) == list(OTHER_MODELS)


@pytest.mark.parametrize(
    ("kind", "default", "wrong"),
    [("labels", "sample F1", "QWK"), ("number", "RMSE", "accuracy"), ("class", "accuracy", "MAE")],
)
def test_the_metric_fits_the_target(
    kind, default, wrong, dataset, label_dataset, number_dataset, competition_folder, monkeypatch
):
    monkeypatch.chdir(competition_folder.parent)
    monkeypatch.setattr(run_module, "DATA", Path())
    data = {"labels": label_dataset, "number": number_dataset, "class": dataset}[kind]
    assert Competition("digits8", Config(), data).metric().name == default
    with pytest.raises(
        UserError, match=rf"{wrong} is not a metric of .*; choose another metric in competition\.toml: "
    ):
        Competition("digits8", Config(metric=wrong), data).metric()


@pytest.mark.parametrize(
    ("config", "is_chosen"),
    [
        (Config(metric="macro F1"), True),
        (Config(metric="macro F1", submission="probabilities"), False),
        (Config(metric="accuracy"), False),
    ],
)
def test_labels_are_chosen_for_the_metric_only_if_labels_are_submitted(
    config, is_chosen, label_dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    competition = Competition("sets", config, label_dataset)
    metric = competition.metric()
    competition.folder.mkdir(parents=True)
    sample = pd.DataFrame(0, index=label_dataset.test_ids, columns=label_dataset.classes)
    sample.to_csv(competition.folder / label_dataset.layout.sample, index_label="id")
    assert competition.label_metric(metric) == (metric if is_chosen else None)


def test_standard_errors_count_groups_only_where_rows_share_them(dataset):
    run = Run(Competition("small", Config(), dataset), None, None, (), None, None, None, "auto")
    assert run.groups is None
    grouped = replace(dataset, groups=np.arange(len(dataset.labels)) // 2)
    run = replace(run, competition=Competition("small", Config(), grouped))
    assert (run.groups == grouped.groups).all()


def test_members_are_not_repeated(dataset):
    assert member_names(dataset, ["svm", "knn", "svm"]) == ["svm", "knn"]


def test_default_models_that_need_too_much_memory_are_left_out(dataset, capsys):
    images = np.broadcast_to(np.uint8(0), (500_000, 64, 64, 3))  # takes no memory
    large = replace(dataset, images=images, labels=np.zeros(len(images), dtype=int))
    assert member_names(large, None) == ["detail"]
    output = capsys.readouterr().out
    assert "left out: knn svm (up to " in output and "GB per worker for 500,000 images)" in output
    assert member_names(large, ["svm"]) == ["svm"]
