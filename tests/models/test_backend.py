import pytest

from competition.models.backend import keras_backend


@pytest.mark.parametrize(
    ("content", "backend"), [('{"backend": "jax"}', "jax"), ("{}", "tensorflow"), ('{"backend":', "tensorflow")]
)
def test_the_backend_is_that_of_keras_which_ignores_a_damaged_file(content, backend, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert keras_backend.__wrapped__() == backend
