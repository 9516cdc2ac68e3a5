import pytest

from competition.models import source
from competition.models.source import source_digest

IMPORTS = ("from competition.blocks import Y", "from competition import blocks", "import competition.blocks")


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Compute the digest of a model in a small package, whose files can be edited and moved."""
    package = tmp_path / "competition"
    monkeypatch.setattr(source, "PACKAGE", package)

    def digest(model="X = 1", block="Y = 2", other="Z = 3", import_statement=IMPORTS[0], block_path="blocks"):
        for name, text in {
            "crossval/task": "W = 0",
            "models/regression": "V = 0",
            "zoo/m": f"def f():\n    {import_statement}\n{model}\n",
            block_path: block,
            "other": other,
        }.items():
            (package / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
            (package / f"{name}.py").write_text(text)
        source_digest.cache_clear()
        return source_digest("competition.zoo.m")

    yield digest
    source_digest.cache_clear()


@pytest.mark.parametrize("import_statement", IMPORTS)
def test_the_digest_ignores_comments_docstrings_and_search_space_but_not_code(import_statement, digest):
    original = digest(import_statement=import_statement)
    assert digest(import_statement=import_statement, model="X  =  1  # a comment") == original
    assert digest(import_statement=import_statement, block='"""A docstring."""\nY = 2') == original
    assert digest(import_statement=import_statement, other="Z = 4") == original
    with_search_space = "X = 1\ndef search_space(trial):\n    trial.suggest_int('x', 1, 2)"
    assert digest(import_statement=import_statement, model=with_search_space) == original
    assert digest(import_statement=import_statement, model="X = 2") != original
    assert digest(import_statement=import_statement, block="Y = 3") != original


def test_moving_a_file_does_not_change_the_digest(digest):
    moved = digest(import_statement="from competition.layers.convolutions import Y", block_path="layers/convolutions")
    assert moved == digest()


def test_the_digest_of_a_missing_module_is_an_error():
    with pytest.raises(FileNotFoundError, match="missing"):
        source_digest("competition.models.no_such_model")
