import io
import pickle
from functools import partial

import numpy as np

from competition.data.dataset import ARRAYS, packed
from competition.workers.remote import Packer, Unpacker


def looking(task, say, dataset):
    return dataset.digest


def test_a_work_travels_without_its_data_and_finds_them_beside_it(dataset, tmp_path):
    buffer = io.BytesIO()
    packer = Packer(buffer)
    packer.dump(partial(looking, dataset=dataset))
    assert packer.datasets == [dataset] and len(buffer.getvalue()) < 1_000
    (tmp_path / "its.work").write_bytes(buffer.getvalue())
    (tmp_path / f"{dataset.digest}.zip").write_bytes(packed(dataset))
    found = Unpacker(tmp_path / "its.work").load().keywords["dataset"]
    assert found.digest == dataset.digest and tmp_path in found.cache.parents
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(dataset, name))
    again = pickle.loads(pickle.dumps(found))  # on to a process of the worker's
    assert again.cache == found.cache
