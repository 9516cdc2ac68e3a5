import keras
import numpy as np
import pytest

from competition.models.classical.features import Deskew
from competition.models.networks.deskew import deskew


def test_networks_and_classical_models_deskew_alike(dataset):
    expected = np.rint(Deskew().transform(dataset.images) * 255)
    assert np.abs(np.asarray(deskew(dataset.images))[..., 0].astype(float) - expected).max() <= 1  # rounding


def test_deskewing_is_part_of_a_saved_network(dataset, tmp_path):
    images = keras.Input(dataset.images.shape[1:], dtype="uint8")
    keras.Model(images, deskew(images)).save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    assert (loaded.predict_on_batch(dataset.images) == np.asarray(deskew(dataset.images))).all()


def test_a_blank_image_stays_blank():
    assert not np.asarray(deskew(np.zeros((2, 9, 7, 3), np.uint8))).any()


@pytest.mark.parametrize("count", [16, 5])
def test_batches_as_large_as_a_side_are_deskewed_correctly(count, dataset):
    images = keras.Input(dataset.images.shape[1:], dtype="uint8")
    network = keras.Model(images, deskew(images))
    assert (network.predict_on_batch(dataset.images[:count]) == np.asarray(deskew(dataset.images))[:count]).all()
