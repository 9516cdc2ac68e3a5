from dataclasses import replace

import pytest

from competition.crossval.folds import split
from competition.crossval.store import Store
from competition.data.config import Rules
from competition.errors import Problem
from competition.models.hyperparameters import adopt, adopted, path_of, ruled, settings, with_settings
from competition.models.member import Member


def test_settings_of_parts_stand_behind_a_dot_and_come_back():
    recipe = Member.named("quick").recipe
    told = settings(recipe)
    assert told["warp.shift"] == recipe.warp.shift and told["epochs"] == recipe.epochs
    assert with_settings(recipe, {"warp.shift": 0.01, "warp.zoom": 0.3, "peak": 0.5}) == replace(
        recipe, peak=0.5, warp=replace(recipe.warp, shift=0.01, zoom=0.3)
    )


def test_adopted_settings_are_every_seeds_and_no_other_recipes(tmp_path):
    adopt(tmp_path, Member.named("vgg"), {"settings": {"peak": 0.5}, "p_value": 0.01})
    assert adopted(tmp_path, Member.named("vgg")).recipe.peak == 0.5
    assert adopted(tmp_path, Member.named("vgg.7")).recipe.peak == 0.5
    for other in ("vgg:tutorial", "quick", "@theirs"):
        assert adopted(tmp_path, Member.named(other)) == Member.named(other)


def test_adopted_settings_change_the_fingerprint(dataset, tmp_path):
    store = Store(tmp_path, dataset, split(dataset, 2, 0))
    member = Member.named("knn")
    adopt(tmp_path, member, {"settings": {"neighbours": 7}})
    assert store.fingerprint(adopted(tmp_path, member)) != store.fingerprint(member)


@pytest.mark.parametrize("text", ["", "{}", '{"settings": {"colour": 1}}', '{"settings": {"warp.shift": 1}}'])
def test_a_damaged_file_is_named_with_its_remedy(text, tmp_path):
    path = path_of(tmp_path, Member.named("knn"))
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(Problem, match=r"knn\.json .*make tune MODELS=knn"):
        adopted(tmp_path, Member.named("knn"))


def test_rules_limit_how_far_images_are_changed_and_widen_nothing():
    quick, before = Member.named("quick"), Member.named("quick").recipe.warp
    after = ruled(quick, Rules(limits={"rotation": 0, "shift": 9.0})).recipe.warp
    assert after == replace(before, rotation=0)
    assert ruled(Member.named("mlp"), Rules(limits={"rotation": 0})) == Member.named("mlp")
