import pytest

from competition import provenance
from competition.folds import split
from competition.models import Member
from competition.provenance import ingredients, source_digest

IMPORTS = ("from competition.blocks import Y", "from competition import blocks", "import competition.blocks")


@pytest.mark.parametrize("imported", IMPORTS)
def test_the_source_digest_is_blind_to_comments_and_sees_code(imported, tmp_path, monkeypatch):
    package = tmp_path / "competition"
    (package / "models").mkdir(parents=True)
    monkeypatch.setattr(provenance, "PACKAGE", package)

    def digest(model="X = 1", block="Y = 2", other="Z = 3"):
        (package / "task.py").write_text("W = 0")
        (package / "models" / "m.py").write_text(f"def f():\n    {imported}\n{model}\n")
        (package / "blocks.py").write_text(block)
        (package / "other.py").write_text(other)
        source_digest.cache_clear()
        return source_digest("competition.models.m")

    plain = digest()
    assert digest(model="X  =  1  # noted") == plain
    assert digest(block='"""Told."""\nY = 2') == plain
    assert digest(other="Z = 4") == plain
    assert digest(model="X = 1\ndef search(trial):\n    trial.suggest_int('x', 1, 2)") == plain
    assert digest(model="X = 2") != plain
    assert digest(block="Y = 3") != plain
    source_digest.cache_clear()


def test_a_networks_ingredients_cover_what_trains_it(dataset):
    made_of = ingredients(Member.named("quick"), dataset, split(dataset, 3, 0))
    libraries = {"tensorflow", "keras", "numpy", "scipy", "scikit-learn"}
    assert {"data", "split", "recipe", "seed", "source", "backend", *libraries} == set(made_of)
    assert "epochs=12" in made_of["recipe"] and "rotation=6.4" in made_of["recipe"]
    assert "schedule=one_cycle" in made_of["recipe"]


def test_a_recipe_reads_the_same_in_every_process():
    assert "0x" not in provenance.readable(Member.named("quick").recipe)
