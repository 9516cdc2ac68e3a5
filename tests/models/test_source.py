import pytest

from competition.models import source
from competition.models.source import source_digest

IMPORTS = ("from competition.blocks import Y", "from competition import blocks", "import competition.blocks")


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest of a model in a small package, whose files can be changed and moved."""
    package = tmp_path / "competition"
    monkeypatch.setattr(source, "PACKAGE", package)

    def digest(model="X = 1", block="Y = 2", other="Z = 3", imported=IMPORTS[0], blocks="blocks"):
        for name, text in {
            "crossval/task": "W = 0",
            "zoo/m": f"def f():\n    {imported}\n{model}\n",
            blocks: block,
            "other": other,
        }.items():
            (package / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
            (package / f"{name}.py").write_text(text)
        source_digest.cache_clear()
        return source_digest("competition.zoo.m")

    yield digest
    source_digest.cache_clear()


@pytest.mark.parametrize("imported", IMPORTS)
def test_the_source_digest_ignores_comments_and_sees_code(imported, digest):
    plain = digest(imported=imported)
    assert digest(imported=imported, model="X  =  1  # a comment") == plain
    assert digest(imported=imported, block='"""A docstring."""\nY = 2') == plain
    assert digest(imported=imported, other="Z = 4") == plain
    searched = "X = 1\ndef search(trial):\n    trial.suggest_int('x', 1, 2)"
    assert digest(imported=imported, model=searched) == plain
    assert digest(imported=imported, model="X = 2") != plain
    assert digest(imported=imported, block="Y = 3") != plain


def test_moving_or_renaming_a_file_changes_no_digest(digest):
    moved = digest(imported="from competition.layers.convolutions import Y", blocks="layers/convolutions")
    assert moved == digest()
