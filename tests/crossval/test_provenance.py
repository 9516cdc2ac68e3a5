from importlib import import_module

from competition.crossval.folds import make_folds
from competition.crossval.provenance import ingredients, member_ingredients
from competition.models.hyperparameters import describe_recipe
from competition.models.member import Member
from competition.models.registry import available_models, model_module


def test_the_ingredients_of_a_network_include_backend_and_libraries(dataset):
    made_of = ingredients(Member.parse("quick"), dataset, make_folds(dataset, 3, 0))
    libraries = {"tensorflow", "keras", "numpy", "scipy", "scikit-learn"}
    assert {"data", "split", "recipe", "seed", "source", "backend", *libraries} == set(made_of)
    assert "epochs=11" in made_of["recipe"] and "rotation=6.4" in made_of["recipe"]
    assert "schedule=one_cycle" in made_of["recipe"]


def test_a_recipe_is_described_equally_in_every_process():
    assert "0x" not in describe_recipe(Member.parse("quick").recipe)


def test_all_variants_of_a_model_have_ingredients_of_their_own():
    for model in available_models():
        variants = getattr(import_module(model_module(model)), "VARIANTS", {})
        members = [Member.parse(model), *(Member.parse(f"{model}:{name}") for name in variants)]
        made_of = [tuple(sorted(member_ingredients(member).items())) for member in members]
        assert len(set(made_of)) == len(made_of), model
