import pytest

from competition.data import wheels
from competition.data.wheels import Wheel, download_wheel
from competition.errors import UserError


def test_a_partial_download_is_not_used(tmp_path, monkeypatch):
    wheel = Wheel("no-such-package==0", "half.whl", "0" * 64, "x", "do without")
    (tmp_path / "half.whl").write_bytes(b"half")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        UserError, match=r"pip could not download no-such-package==0: .* put half\.whl .*, or do without"
    ):
        download_wheel(wheel, tmp_path)


def test_without_pip_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    wheel = Wheel("no-such-package==0", "half.whl", "0" * 64, "x", "do without")
    with pytest.raises(
        UserError, match=r"which this environment lacks; install it with `.* -m ensurepip`, or put half"
    ):
        download_wheel(wheel, tmp_path)
