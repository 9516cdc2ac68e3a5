"""Read PyTorch's state dicts without PyTorch, in the format before version 1.6, without running code.

Such a file is a sequence of pickles (a magic number, a version, the byte order, the tensors and the names of the
storages), then the storages: each its number of elements and these. Tensors are strided views of the storages.
"""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class StateDictError(ValueError):
    """The file is not a state dict that can be read safely."""


@dataclass(frozen=True)
class _Storage:
    """A reference to elements that follow later in the file."""

    key: str
    dtype: np.dtype[Any]
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A strided view of a storage; offset and strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles only ordered dicts of tensors, so that an untrusted pickle cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up one of the names that a pickled state dict needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe_tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise StateDictError(f"{module}.{name} is not part of a state dict")

    def persistent_load(self, reference: Any) -> _Storage:
        """The storage that a tensor refers to."""
        kind, dtype, key, _, elements, view = reference
        if kind != "storage" or not isinstance(dtype, np.dtype) or view is not None:
            raise StateDictError(f"unknown kind of storage {kind!r}")
        return _Storage(str(key), dtype, int(elements))


def _describe_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *others: Any) -> _Tensor:
    """The arguments of `torch._utils._rebuild_tensor_v2`, to be applied when the storages are read."""
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def read_state_dict(content: bytes) -> dict[str, np.ndarray]:
    """The tensors by name; raise StateDictError if the content is anything else."""
    try:
        file = BytesIO(content)
        if (_StateDictUnpickler(file).load(), _StateDictUnpickler(file).load()) != (MAGIC, PROTOCOL):
            raise StateDictError("not a state dict")
        if not _StateDictUnpickler(file).load()["little_endian"]:
            raise StateDictError("not in little-endian byte order")
        tensors, keys = _StateDictUnpickler(file).load(), _StateDictUnpickler(file).load()
        if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
            raise StateDictError("not a state dict")
        declared = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        storages = {key: _read_storage(file, declared[key]) for key in keys}
        return {str(name): _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}
    except StateDictError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise StateDictError(f"damaged ({type(error).__name__}: {error})") from error


def _read_storage(file: BytesIO, storage: _Storage) -> np.ndarray:
    """The next storage in the file."""
    elements = int.from_bytes(file.read(8), "little", signed=True)
    size = elements * storage.dtype.itemsize
    if elements != storage.elements or elements < 0:
        raise StateDictError(f"storage {storage.key} has {elements} elements instead of {storage.elements}")
    content = file.read(size)
    if len(content) < size:
        raise StateDictError(f"truncated in storage {storage.key}")
    return np.frombuffer(content, storage.dtype)


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    """The elements of a tensor; raise StateDictError if some are outside of its storage."""
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((tensor.offset, *shape, *strides)) < 0:
        raise StateDictError(f"a tensor has the invalid shape {shape} and strides {strides}")
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if last >= len(storage) or 0 in shape:
        raise StateDictError(f"a tensor reads element {last} of a storage of {len(storage)}")
    in_bytes = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], shape, in_bytes, writeable=False)
