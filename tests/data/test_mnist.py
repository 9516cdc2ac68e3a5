import hashlib
import io
import os
import pickle
import struct

import numpy as np
import pytest

from competition.data import mnist

# SHA-256 of the four original MNIST files, uncompressed, in IDX format.
DIGESTS = {
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def encode_idx(array):
    """Encode the array in IDX, the file format of the original MNIST."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


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


@pytest.mark.slow
def test_the_images_and_labels_are_those_of_the_original_files(tmp_path):
    images, labels = mnist.load_mnist(tmp_path)
    images, n = images.reshape(-1, 28, 28), mnist.TRAIN_ROWS
    parts = {
        "train images": images[:n],
        "train labels": labels[:n],
        "test images": images[n:],
        "test labels": labels[n:],
    }
    assert {name: hashlib.sha256(encode_idx(part)).hexdigest() for name, part in parts.items()} == DIGESTS
    assert encode_idx(np.array([5, 0], dtype=np.uint8)) == bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0])
