import keras
import pytest
from keras import layers

from benchmarks import speed as bench
from competition.checks import machine_speed
from competition.models.member import Member


def test_multiply_adds_are_counted_by_layer():
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="valid", use_bias=False)(image)  # 6 x 6 x 4 outputs of 9 products
    model = keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))
    assert bench.multiply_adds(model) == 36 * 4 * 9 + 144 * 5


def test_every_network_of_the_zoo_is_timed():
    assert {member.name for member in bench.networks()} >= {"mlp", "lenet", "vgg", "strided", "quick", "residual"}
    assert not {"knn", "svm"} & {member.name for member in bench.networks()}


@pytest.mark.slow
def test_the_speed_of_a_real_worker(dataset):
    peaks = machine_speed.peaks()
    assert peaks.keys() == {"float32", "mixed_bfloat16"} and min(peaks.values()) > 1
    one, *_ = bench.speeds([Member.named("mlp")], dataset, peaks)
    assert one.workers == 1 and one.parameters == 256 * 100 + 100 + 100 * 10 + 10
    assert one.multiply_adds == 256 * 100 + 100 * 10
    assert one.gflops == pytest.approx(one.images_per_second * one.multiply_adds * 6 / 1e9)
    assert 0 < one.share_of_peak < 1
