from importlib import import_module

from competition.crossval.folds import make_folds
from competition.crossval.provenance import member_provenance, provenance_of
from competition.models.hyperparameters import describe_recipe
from competition.models.member import Member
from competition.models.registry import available_models, model_module


def test_the_provenance_of_a_network_includes_backend_and_libraries(dataset):
    provenance = provenance_of(Member.parse("quick"), dataset, make_folds(dataset, 3, 0))
    libraries = {"tensorflow", "keras", "numpy", "scipy", "scikit-learn"}
    assert {"data", "split", "recipe", "seed", "source", "backend", *libraries} == set(provenance)
    assert "epochs=11" in provenance["recipe"] and "rotation=6.4" in provenance["recipe"]
    assert "schedule=one_cycle" in provenance["recipe"]


def test_a_recipe_is_described_equally_in_every_process():
    assert "0x" not in describe_recipe(Member.parse("quick").recipe)


def test_all_variants_of_a_model_have_provenance_of_their_own():
    for model in available_models():
        variants = getattr(import_module(model_module(model)), "VARIANTS", {})
        members = [Member.parse(model), *(Member.parse(f"{model}:{name}") for name in variants)]
        provenance = [tuple(sorted(member_provenance(member).items())) for member in members]
        assert len(set(provenance)) == len(provenance), model
