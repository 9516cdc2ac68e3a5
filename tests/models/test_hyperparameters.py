from dataclasses import replace

import pytest

from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.data.config import Config
from competition.errors import UserError
from competition.models.hyperparameters import (
    apply_config,
    configure_augmentation,
    get_hyperparameters,
    replace_hyperparameters,
    save_tuned,
    tuned_path,
    with_tuned,
)
from competition.models.member import Member


def test_nested_hyperparameters_have_dotted_names_and_can_be_replaced():
    recipe = Member.parse("quick").recipe
    parameters = get_hyperparameters(recipe)
    assert parameters["augmentation.shift"] == recipe.augmentation.shift and parameters["epochs"] == recipe.epochs
    changes = {"augmentation.shift": 0.01, "augmentation.zoom": 0.3, "peak_learning_rate": 0.5}
    assert replace_hyperparameters(recipe, changes) == replace(
        recipe, peak_learning_rate=0.5, augmentation=replace(recipe.augmentation, shift=0.01, zoom=0.3)
    )


def test_tuned_hyperparameters_apply_to_all_seeds_and_to_no_other_recipe(tmp_path):
    save_tuned(tmp_path, Member.parse("vgg"), {"hyperparameters": {"peak_learning_rate": 0.5}, "p_value": 0.01})
    assert with_tuned(tmp_path, Member.parse("vgg")).recipe.peak_learning_rate == 0.5
    assert with_tuned(tmp_path, Member.parse("vgg.7")).recipe.peak_learning_rate == 0.5
    for other in ("vgg:tutorial", "quick", "@theirs"):
        assert with_tuned(tmp_path, Member.parse(other)) == Member.parse(other)


def test_tuned_hyperparameters_change_the_fingerprint(dataset, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    member = Member.parse("knn")
    save_tuned(tmp_path, member, {"hyperparameters": {"n_neighbors": 7}})
    assert store.fingerprint(with_tuned(tmp_path, member)) != store.fingerprint(member)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"hyperparameters": {"colour": 1}}', '{"hyperparameters": {"augmentation.shift": 1}}']
)
def test_the_error_for_an_invalid_file_names_it_and_the_command_that_fixes_it(text, tmp_path):
    path = tuned_path(tmp_path, Member.parse("knn"))
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(
        UserError, match=r"invalid hyperparameter file .*; delete it to use the defaults: rm .*knn\.json"
    ):
        with_tuned(tmp_path, Member.parse("knn"))


def test_limits_reduce_augmentation_but_never_increase_it():
    quick, before = Member.parse("quick"), Member.parse("quick").recipe.augmentation
    after = apply_config(quick, Config(limits={"rotation": 0, "shift": 9.0})).recipe.augmentation
    assert after == replace(before, rotation=0)
    assert apply_config(Member.parse("mlp"), Config(limits={"rotation": 0})) == Member.parse("mlp")


def test_networks_train_for_as_many_times_their_epochs_as_the_configuration_says():
    quick, twice = Member.parse("quick"), apply_config(Member.parse("quick"), Config(length=2))
    assert (twice.recipe.epochs, twice.recipe.min_steps) == (2 * quick.recipe.epochs, 2 * quick.recipe.min_steps)
    for rows in (50_000, 200):
        seconds = [member.training_seconds(rows, (28, 28, 1)) for member in (quick, twice)]
        assert seconds[1] == pytest.approx(2 * seconds[0])
    assert apply_config(Member.parse("svm"), Config(length=2)) == Member.parse("svm")
    assert configure_augmentation(twice, Config(length=2)) == twice  # as for a trial of tuning
    assert apply_config(quick, Config(length=0.01)).recipe.epochs == 1
