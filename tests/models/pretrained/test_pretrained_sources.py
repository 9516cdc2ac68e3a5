"""Pretrained networks of the user's: of keras.applications, and in ONNX files."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from competition.data.config import Config, PretrainedNetwork, read_config
from competition.errors import UserError
from competition.models.pretrained import applications
from competition.models.pretrained.applications import APPLICATIONS
from competition.models.pretrained.sources import find_extractor

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def write_onnx(path, shape=("n", 3, 8, 8), channels=4, pooled=True):
    """A convolution of 1x1 pixels, and the mean over the image unless `pooled` is False; its kernel and bias."""
    random = np.random.default_rng(1)
    kernel = random.normal(size=(channels, 3, 1, 1)).astype(np.float32)
    bias = random.normal(size=channels).astype(np.float32)
    nodes = [helper.make_node("Conv", ["pixels", "kernel", "bias"], ["maps"])]
    output = helper.make_tensor_value_info("maps", TensorProto.FLOAT, [shape[0], channels, *shape[2:]])
    if pooled:
        nodes += [
            helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
            helper.make_node("Flatten", ["means"], ["features"]),
        ]
        output = helper.make_tensor_value_info("features", TensorProto.FLOAT, [shape[0], channels])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
    weights = [numpy_helper.from_array(array, name) for name, array in (("kernel", kernel), ("bias", bias))]
    graph = helper.make_graph(nodes, "network", [pixels], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return kernel[:, :, 0, 0], bias


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data" / "photographs"
    folder.mkdir(parents=True)
    return folder


def configure(folder, text):
    (folder / "competition.toml").write_text(text)
    return find_extractor(read_config(folder), folder)


ONNX = f"[pretrained]\nweights = 'network.onnx'\nmean = {list(MEAN)}\nstd = {list(STD)}\n"


@pytest.mark.parametrize("shape", [("n", 3, 8, 8), (1, 3, 8, 8), (2, 3, "h", "w")])
@pytest.mark.parametrize("pooled", [True, False])
def test_an_onnx_network_gets_normalized_pixels_and_its_maps_are_averaged(shape, pooled, folder):
    kernel, bias = write_onnx(folder / "network.onnx", shape, pooled=pooled)
    extractor = configure(folder, ONNX + ("size = 8\n" if "h" in shape else ""))
    assert (extractor.size, extractor.dimensions, extractor.name) == (8, 4, "network")
    features = extractor.extract(IMAGES)
    for view, pixels in enumerate((IMAGES, IMAGES[:, :, ::-1])):
        expected = ((pixels / 255 - MEAN) / STD).mean(axis=(1, 2)) @ kernel.T + bias
        np.testing.assert_allclose(features[:, view], expected, atol=0.01)


def test_an_onnx_network_is_identified_by_its_weights_and_the_normalization(folder):
    write_onnx(folder / "network.onnx")
    first = configure(folder, ONNX)
    digests = {first.digest, configure(folder, f"{ONNX}scale = 127.5\n").digest}
    write_onnx(folder / "network.onnx", channels=5)
    second = configure(folder, ONNX)
    assert len({*digests, second.digest}) == 3 and second.dimensions == 5
    elsewhere = replace(second.with_content(), file=folder / "missing.onnx")
    np.testing.assert_array_equal(elsewhere.extract(IMAGES), second.extract(IMAGES))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'pretrained = "EfficientNetV2B9"',
            "unknown model 'EfficientNetV2B9'; choose one of keras.app.*, e.g. Eff",
        ),
        (
            'pretrained = {weights = "w.h5"}',
            "set either `model`, one of keras.applications, or `weights`, an ONN",
        ),
        ('pretrained = {model = "VGG16", weights = "w.onnx"}', "set either `model`"),
        ('pretrained = {model = "VGG16", weights = "w.h5"}', r"w\.h5 is missing"),
        (
            'pretrained = {model = "VGG16", mean = [0, 0, 0]}',
            "scale, mean and std are for ONNX files; VGG16 has it",
        ),
        ('pretrained = {weights = "network.onnx"}', "network.onnx needs `mean` and `std`"),
        (ONNX + "size = 9", "size = 9, but network.onnx takes images of 8x8 pixels"),
        (ONNX.replace("network", "seven"), r"seven\.onnx takes batches of exactly 7 images; export it with batches of"),
        (ONNX.replace("network", "text"), r"cannot read .*text\.onnx as an ONNX network"),
        (ONNX.replace("network", "any"), r"any\.onnx takes images of any size; set `size` to that of its training"),
        (
            ONNX.replace("network", "grey"),
            r"grey\.onnx takes pixels tensor\(float\) .*; expected images \(rows,",
        ),
    ],
)
def test_what_does_not_fit_is_explained(text, reason, folder):
    write_onnx(folder / "network.onnx")
    write_onnx(folder / "any.onnx", ("n", 3, "h", "w"))
    write_onnx(folder / "seven.onnx", (7, 3, 8, 8))
    write_onnx(folder / "grey.onnx", ("n", "c", 8, 8))
    (folder / "text.onnx").write_text("text")
    with pytest.raises(UserError, match=rf"competition\.toml: pretrained: .*{reason}"):
        configure(folder, text)


def test_weights_that_cannot_be_downloaded_are_explained(folder, monkeypatch):
    monkeypatch.setattr(applications, "DOWNLOAD", "raise SystemExit('no route to host')")
    with pytest.raises(UserError, match="not download the weights of MobileNet: no route to host; try again when"):
        configure(folder, 'pretrained = "MobileNet"')
    weights = folder.parent / "MobileNet-imagenet.weights.h5"
    weights.write_bytes(b"weights")
    extractor = configure(folder, 'pretrained = "MobileNet"')
    assert (extractor.file, extractor.size, extractor.dimensions) == (weights, 224, 1024)
    assert "MobileNet trained on ImageNet (weights of keras.applications), 224x224 pixels" in extractor.describe()


def test_the_default_is_the_known_network(folder):
    assert find_extractor(Config(pretrained=True), folder).name == "EfficientNet-Lite0"


@pytest.mark.integration
def test_a_network_of_keras_gets_pixels_as_it_expects_them(folder):
    import keras

    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    network.save_weights(folder / "own.weights.h5")
    settings = PretrainedNetwork(model="MobileNetV2", weights="own.weights.h5", size=32)
    extractor = replace(find_extractor(Config(pretrained=settings), folder), precision="float32")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    maps = network.predict_on_batch(keras.applications.mobilenet_v2.preprocess_input(images.astype(np.float32)))
    features = extractor.extract(images)
    np.testing.assert_allclose(features[:, 0], maps.mean(axis=(1, 2)), atol=0.01)
    assert "MobileNetV2 with weights of own.weights.h5, 32x32 pixels" in extractor.describe()
    content = replace(extractor.with_content(), file=folder / "elsewhere.weights.h5")
    assert content == replace(extractor, file=folder / "any") and content.digest == extractor.digest
    (folder / "own.weights.h5").write_bytes(b"damaged")
    damaged = find_extractor(Config(pretrained=settings), folder)
    with pytest.raises(UserError, match=r"cannot load .*own\.weights\.h5 into MobileNetV2 without its classifier"):
        damaged.extract(images)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_applications_are_those_of_keras(name):
    import keras

    application = APPLICATIONS[name]
    shape = (application.size, application.size, 3)
    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)
    assert network.output_shape[-1] == application.dimensions
    assert callable(getattr(keras.applications, application.module).preprocess_input)
