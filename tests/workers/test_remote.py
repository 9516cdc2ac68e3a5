import io
import pickle
from functools import partial

import numpy as np

from competition.data.dataset import ARRAYS, pack_dataset
from competition.workers.remote import Packer, Unpacker


def get_digest(task, emit, dataset):
    return dataset.digest


def test_a_function_is_pickled_without_its_data_set_and_loads_it_from_its_folder(dataset, tmp_path):
    buffer = io.BytesIO()
    packer = Packer(buffer)
    packer.dump(partial(get_digest, dataset=dataset))
    assert packer.datasets == [dataset] and len(buffer.getvalue()) < 1_000
    (tmp_path / "function.pickle").write_bytes(buffer.getvalue())
    (tmp_path / f"{dataset.digest}.zip").write_bytes(pack_dataset(dataset))
    loaded = Unpacker(tmp_path / "function.pickle").load().keywords["dataset"]
    assert loaded.digest == dataset.digest and tmp_path in loaded.cache.parents
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(dataset, name))
    copy = pickle.loads(pickle.dumps(loaded))  # as for a worker's child process
    assert copy.cache == loaded.cache
