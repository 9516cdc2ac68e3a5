import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from scipy.special import expit, softmax

from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.crossval.task import Task, train_fold
from competition.deploy.onnx import (
    build_model,
    clone_in_float32,
    combine_in_keras,
    export_blend,
    is_exported,
    run_onnx,
)
from competition.ensemble.blenders import BLENDERS, fit_blender
from competition.errors import UserError
from competition.models.interface import Target
from competition.models.member import Member
from competition.models.networks.recipe import FIVE_SHIFTS
from competition.models.networks.training import load_network


@pytest.mark.parametrize("name", sorted(BLENDERS))
def test_a_combination_is_the_same_in_keras(name):
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 300)
    stack = softmax(random.normal(size=(3, 300, 10)) + 3 * np.eye(10)[labels], axis=-1)
    combination = BLENDERS[name](stack, labels)
    blended = np.asarray(combine_in_keras(combination, stack.astype(np.float32)))
    assert np.allclose(blended, combination.combine(stack), atol=1e-5)


@pytest.mark.parametrize("name", sorted(BLENDERS))
def test_a_combination_of_label_sets_is_the_same_in_keras(name):
    random = np.random.default_rng(0)
    labels = (random.random((200, 4)) < 0.4).astype(np.uint8)
    stack = expit(random.normal(size=(3, 200, 4)) + 3 * labels)
    combination = fit_blender(name, stack, labels)
    blended = np.asarray(combine_in_keras(combination, stack.astype(np.float32)))
    assert np.allclose(blended, combination.combine(stack), atol=1e-5)


def test_a_network_in_bfloat16_is_cloned_in_float32():
    import keras

    images = keras.Input((8, 8, 1), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255, dtype="float32")(images)
    hidden = keras.layers.Conv2D(4, 3, activation="relu", dtype="mixed_bfloat16")(features)
    inner = keras.Model(images, keras.layers.Dense(3, dtype="float32")(keras.layers.Flatten()(hidden)))
    padded = keras.layers.ZeroPadding2D(((1, 0), (0, 0)), dtype="uint8")(images)
    outer = keras.Model(images, inner(keras.layers.Cropping2D(((0, 1), (0, 0)), dtype="uint8")(padded)))
    clone = clone_in_float32(outer)
    (inner_clone,) = (layer for layer in clone.layers if isinstance(layer, keras.Model))
    assert {weight.dtype for weight in inner_clone.weights} == {"float32"}
    assert {layer.compute_dtype for layer in inner_clone.layers if layer.weights} == {"float32"}
    batch = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    assert np.allclose(np.asarray(clone(batch)), np.asarray(outer(batch), np.float32), atol=0.02)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")  # of tf2onnx
def test_a_network_of_dark_glyphs_predicts_the_same_in_onnx(dataset, tmp_path):
    import keras

    images = 255 - np.pad(dataset.images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    member = Member.parse("lenet")
    recipe = replace(member.recipe, epochs=1, shifts=FIVE_SHIFTS)
    network = member.spec.build(recipe, 0, images.shape[1:], Target.of(dataset.labels, dataset.classes))
    network.fit(images, dataset.labels, lambda epoch: None).save(tmp_path / "network.keras")
    assert network.white == 255
    views = clone_in_float32(load_network(tmp_path / "network.keras").all_views)
    inputs = keras.Input(images.shape[1:], dtype="uint8", name="images")
    model = keras.Model(inputs, {"probabilities": keras.ops.softmax(views(inputs))})
    expected = model.predict(images[:50], verbose=0)["probabilities"]
    model.export(tmp_path / "network.onnx", format="onnx", verbose=False)
    probabilities, _ = run_onnx(tmp_path / "network.onnx", {"images": images[:50]}, 50)
    assert np.allclose(probabilities, expected, atol=1e-5)
    assert probabilities.std() > 0.01


def test_a_blend_without_networks_is_not_exported(dataset, tmp_path):
    store = Store(tmp_path, dataset, make_folds(dataset, 2, 0))
    with pytest.raises(UserError, match="no member of the submission is a network"):
        export_blend(tmp_path / "blend.onnx", store, [Member.parse("knn")], "mean")


@pytest.mark.slow
@pytest.mark.parametrize(("refit", "networks"), [("0", 4), ("3", 6)])
def test_the_onnx_file_predicts_like_the_submission(refit, networks, command, tmp_path):
    members = ["--models", "mlp knn lenet", "--folds", "2", "--blend", "tempered", "--refit", refit]
    assert command("submit", "--competition", "digits8", *members).returncode == 0
    export = command("export-onnx", "--competition", "digits8")
    assert export.returncode == 0, export.stderr
    assert f"{networks} networks; left out: knn" in export.stdout
    assert "rows whose predicted label differs from the original networks: 0\n" in export.stdout
    path = tmp_path / "submissions" / "digits8" / "001-mlp-knn-lenet" / "blend.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    test = pd.read_csv(tmp_path / "data" / "digits8" / "test.csv").to_numpy(np.uint8).reshape(-1, 16, 16, 1)
    (probabilities,) = session.run(["probabilities"], {"images": test})
    (few,) = session.run(["probabilities"], {"images": test[:7]})
    assert np.allclose(probabilities[:7], few, atol=1e-5) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    output = command("predict", str(tmp_path / "data" / "digits8" / "test.csv"), "--competition", "digits8", "--json")
    labels = [row["label"] for row in json.loads(output.stdout)]
    assert np.mean(labels == probabilities.argmax(axis=1)) > 0.85  # the file lacks knn


@pytest.mark.integration
def test_a_network_that_was_trained_elsewhere_is_exported(dataset, tmp_path):
    store, network = Store(tmp_path, dataset, make_folds(dataset, 2, 0)), Member.parse("lenet:e1")
    for fold in range(2):
        store.save(network, fold, train_fold(Task(network, fold), dataset, store.folds, lambda epoch: None))
    imported = store.import_folds(tmp_path / store.folds.name / network.name, "kaggle-lenet")
    assert is_exported(store.trained_as(imported), None) and not is_exported(imported, None)
    combination = fit_blender("mean", store.predictions(imported).oof[None], dataset.labels)
    blended = build_model(store, [imported], combination).predict({"images": dataset.test_images}, verbose=0)
    assert np.allclose(blended["probabilities"], store.predictions(imported).test.mean(axis=0), atol=0.02)
