"""Defaults of a run."""

from dataclasses import replace

import numpy as np
import pytest

from competition.cli.run import COLUMN_MODELS, GLYPH_MODELS, PHOTO_MODELS, Competition
from competition.data.config import Config
from competition.errors import UserError
from competition.models.registry import available_models


def member_names(dataset, models) -> list[str]:
    """The members of a run on these rows."""
    return [member.name for member in Competition("small", Config(), dataset).members(models)]


def test_default_models_are_used_if_none_are_named(dataset, capsys):
    assert member_names(dataset, None) == list(PHOTO_MODELS) and capsys.readouterr().out == ""


def test_writing_is_also_seen_without_its_slant(dataset):
    with_border = np.pad(dataset.images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    assert member_names(replace(dataset, images=with_border), None) == list(GLYPH_MODELS)
    in_colour = np.repeat(with_border, 3, axis=3)
    assert member_names(replace(dataset, images=in_colour), None) == list(PHOTO_MODELS)


def test_columns_are_learned_by_default_where_there_are_any(dataset_with_columns, capsys):
    assert member_names(dataset_with_columns, None) == [*COLUMN_MODELS, *PHOTO_MODELS]
    assert capsys.readouterr().out == ""


def test_all_models_include_those_of_columns_only_where_there_are_any(dataset, dataset_with_columns):
    of_features = {"features-knn", "features-linear", "features-svm"}
    assert set(available_models()) - set(member_names(dataset_with_columns, ["all"])) == of_features
    assert set(available_models()) - set(member_names(dataset, ["all"])) == {*COLUMN_MODELS, *of_features}


def test_a_model_of_columns_is_rejected_where_there_are_none(dataset, dataset_with_columns):
    assert member_names(dataset_with_columns, ["knn", "logistic"]) == ["knn", "logistic"]
    with pytest.raises(
        UserError, match=r"logistic learns from columns beside the images, but small has none; .*MODELS="
    ):
        member_names(dataset, ["knn", "logistic"])


def test_members_are_not_repeated(dataset):
    assert member_names(dataset, ["svm", "knn", "svm"]) == ["svm", "knn"]


def test_default_models_that_need_too_much_memory_are_left_out(dataset, capsys):
    images = np.broadcast_to(np.uint8(0), (500_000, 64, 64, 3))  # takes no memory
    large = replace(dataset, images=images, labels=np.zeros(len(images), dtype=int))
    assert member_names(large, None) == ["quick", "plain"]
    output = capsys.readouterr().out
    assert "knn and svm would need" in output and "for 500,000 images and are left out" in output
    assert member_names(large, ["svm"]) == ["svm"]
