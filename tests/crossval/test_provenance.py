from competition.crossval.folds import split
from competition.crossval.provenance import ingredients
from competition.models.hyperparameters import readable
from competition.models.member import Member


def test_a_networks_ingredients_cover_what_trains_it(dataset):
    made_of = ingredients(Member.named("quick"), dataset, split(dataset, 3, 0))
    libraries = {"tensorflow", "keras", "numpy", "scipy", "scikit-learn"}
    assert {"data", "split", "recipe", "seed", "source", "backend", *libraries} == set(made_of)
    assert "epochs=12" in made_of["recipe"] and "rotation=6.4" in made_of["recipe"]
    assert "schedule=one_cycle" in made_of["recipe"]


def test_a_recipe_reads_the_same_in_every_process():
    assert "0x" not in readable(Member.named("quick").recipe)
