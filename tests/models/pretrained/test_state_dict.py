import io
import os
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

from competition.models.pretrained.state_dict import MAGIC, PROTOCOL, StateDictError, read_state_dict


class FloatStorage:
    """Stands for PyTorch's class of this name."""


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of this name."""


class View:
    """A pickled tensor: a storage, offset, shape and strides."""

    def __init__(self, storage, *geometry):
        self.storage, self.geometry = storage, geometry

    def __reduce__(self):
        return _rebuild_tensor_v2, (self.storage, *self.geometry, False, {})


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, np.ndarray):
            return "storage", FloatStorage, str(id(value)), "cpu", len(value), None
        return None


@pytest.fixture
def encode(monkeypatch):
    """A function that writes a state dict as PyTorch did."""
    for module, member in (("torch", FloatStorage), ("torch._utils", _rebuild_tensor_v2)):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        monkeypatch.setattr(member, "__module__", module)
        setattr(sys.modules[module], member.__name__, member)

    def write(tensors, counts=None):
        file, storages = io.BytesIO(), [view.storage for view in tensors.values() if isinstance(view, View)]
        for value in (MAGIC, PROTOCOL, {"little_endian": True}, tensors, [str(id(each)) for each in storages]):
            Pickler(file, protocol=2).dump(value)
        for number, storage in enumerate(storages):
            count = counts[number] if counts else len(storage)
            file.write(count.to_bytes(8, "little", signed=True) + storage.tobytes())
        return file.getvalue()

    return write


STORAGE = np.arange(12, dtype=np.float32)


def test_strided_views_are_read(encode):
    tensors = read_state_dict(
        encode({"a": View(STORAGE, 0, (3, 4), (4, 1)), "b": View(STORAGE[:6], 1, (2, 2), (1, 2))})
    )
    np.testing.assert_array_equal(tensors["a"], STORAGE.reshape(3, 4))
    np.testing.assert_array_equal(tensors["b"], [[1, 3], [2, 4]])


def test_code_in_the_pickle_is_not_run(encode, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    with pytest.raises(StateDictError, match="mkdir is not part of a state dict"):
        read_state_dict(encode({"a": Attack()}))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "geometry",
    [
        (0, (13,), (1,)),
        (1, (3, 4), (4, 1)),
        (12, (), ()),
        (-1, (2,), (1,)),
        (11, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (2,), (2**62,)),
    ],
)
def test_a_view_out_of_bounds_is_rejected(geometry, encode):
    with pytest.raises(StateDictError, match="a tensor"):
        read_state_dict(encode({"a": View(STORAGE, *geometry)}))


@pytest.mark.parametrize("count", [-1, 11, 13, 2**60])
def test_a_storage_of_another_size_is_rejected(count, encode):
    with pytest.raises(StateDictError, match=f"has {count} elements instead of 12"):
        read_state_dict(encode({"a": View(STORAGE, 0, (3, 4), (4, 1))}, [count]))


def test_a_truncated_file_is_rejected_wherever_it_ends(encode):
    content = encode({"a": View(STORAGE, 0, (3, 4), (4, 1))})
    for length in range(len(content)):
        with pytest.raises(StateDictError):
            read_state_dict(content[:length])


def test_other_pickles_are_rejected():
    with pytest.raises(StateDictError, match="damaged"):
        read_state_dict(pickle.dumps({"a": 1}))
    with pytest.raises(StateDictError, match="not a state dict"):
        read_state_dict(pickle.dumps(1) + pickle.dumps(2))
