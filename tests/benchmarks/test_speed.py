import keras
import pytest
from keras import layers

from benchmarks.speed import available_networks, count_multiply_adds, measure_speeds
from competition.checks.machine_speed import measure_gflops
from competition.models.member import Member


def test_multiply_adds_are_summed_over_layers():
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="valid", use_bias=False)(image)  # 6 x 6 x 4 outputs of 9 products
    model = keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))
    assert count_multiply_adds(model) == 36 * 4 * 9 + 144 * 5


def test_every_network_is_measured():
    names = {member.name for member in available_networks()}
    assert names >= {"mlp", "lenet", "vgg", "strided", "quick", "residual"}
    assert not names & {"knn", "svm"}


@pytest.mark.slow
def test_the_speed_of_a_worker(dataset):
    peaks = measure_gflops()
    assert peaks.keys() == {"float32", "mixed_bfloat16"} and min(peaks.values()) > 1
    speed, *_ = measure_speeds([Member.parse("mlp")], dataset, peaks)
    assert speed.workers == 1 and speed.parameters == 256 * 100 + 100 + 100 * 10 + 10
    assert speed.multiply_adds == 256 * 100 + 100 * 10
    assert speed.gflops == pytest.approx(speed.images_per_second * speed.multiply_adds * 6 / 1e9)
    assert 0 < speed.share_of_peak < 1
