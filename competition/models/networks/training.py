"""The training loop of Keras networks: a Recipe holds the hyperparameters, a function builds the layers.

The loop passes single batches to Keras instead of calling `fit`: with TensorFlow 2.21, each epoch of `fit` waited up
to 5 s for a background thread on one core, and the order of batches would depend on the backend's random generator.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import layers
from scipy.special import softmax

from competition.data.augmentation import Augmentation
from competition.models.interface import Epoch, EpochCallback, Images
from competition.models.networks.augmentation import RandomAugmentation
from competition.models.networks.recipe import Recipe
from competition.models.networks.symmetries import detect_symmetries

Backbone = Callable[[Any], Any]  # maps images in 0..1 to features

PREDICTION_BATCH_SIZE = 500


class Network:
    """A Keras classifier trained by a recipe."""

    suffix = ".keras"
    remark = ""

    def __init__(self, backbone: Backbone, recipe: Recipe, seed: int, shape: tuple[int, ...], classes: int) -> None:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy(recipe.precision)
        if keras.backend.backend() == "tensorflow":
            _enable_tensorflow_determinism()
        self.recipe = recipe
        self.seed = seed
        self.classes = classes
        images = keras.Input(shape, dtype="uint8")
        features = backbone(layers.Rescaling(1 / 255, dtype="float32")(images))
        self.network = keras.Model(images, layers.Dense(classes, dtype="float32", name="logits")(features))
        logits = [self.network(_shift(images, *shift)) for shift in recipe.shifts]
        # With test-time augmentation.
        self.model = keras.Model(images, layers.Average(dtype="float32")(logits)) if len(logits) > 1 else self.network

    def fit(self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback) -> Self:
        """Train for all epochs of the recipe; the callback sees each epoch but cannot influence training."""
        trainer = self._build_trainer(self._resolve_augmentation(images, labels))
        one_hot = np.eye(self.classes, dtype=np.float32)
        rng = np.random.default_rng(self.seed)
        batch_size = min(self.recipe.batch_size, len(images))
        starts = range(0, len(images) - batch_size + 1, batch_size)
        epochs = self.recipe.epochs_for(len(starts))
        total_steps = epochs * len(starts)
        step = 0
        predictor = NetworkPredictor(self.network)  # without test-time augmentation, which learning curves do not need
        for epoch in range(1, epochs + 1):
            trainer.reset_metrics()  # Keras returns the mean loss since the last reset
            start_time = time.perf_counter()
            order = rng.permutation(len(images))
            for start in starts:
                rows = order[start : start + batch_size]
                trainer.optimizer.learning_rate = self.recipe.peak_learning_rate * self.recipe.schedule(
                    step / total_steps
                )
                loss = trainer.train_on_batch(images[rows], one_hot[labels[rows]])
                step += 1
            if not np.isfinite(loss):
                reason = f"the loss is {loss} in epoch {epoch} of {epochs}"
                raise FloatingPointError(f"training diverged: {reason}; lower the learning rate")
            images_per_second = batch_size * len(starts) / (time.perf_counter() - start_time)
            on_epoch_end(Epoch(epoch, epochs, float(loss), images_per_second, predictor.predict_proba))
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return NetworkPredictor(self.model).predict_proba(images)

    def save(self, path: Path) -> None:
        """Write the network with its test-time augmentation, without optimizer and training augmentation."""
        self.model.save(path)

    def _resolve_augmentation(self, images: Images, labels: np.ndarray) -> Augmentation | None:
        """The recipe's augmentation; its symmetries are detected in the images unless they are given."""
        augmentation = self.recipe.augmentation
        if augmentation and augmentation.symmetries is None:
            symmetries = detect_symmetries(images, labels, self.seed)
            self.remark = f"augmented by {', '.join(symmetries)}" if symmetries else ""
            augmentation = replace(augmentation, symmetries=symmetries)
        return augmentation

    def _build_trainer(self, augmentation: Augmentation | None) -> keras.Model:
        """Compile a model of augmentation and network."""
        images = keras.Input(self.network.input_shape[1:], dtype="uint8")
        augmented = RandomAugmentation(augmentation, self.seed)(images) if augmentation else images
        trainer = keras.Model(images, self.network(augmented))
        config = {"learning_rate": self.recipe.peak_learning_rate, "weight_decay": self.recipe.weight_decay}
        trainer.compile(
            keras.optimizers.get({"class_name": self.recipe.optimizer, "config": config}),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.recipe.label_smoothing),
            jit_compile=keras.backend.backend() == "jax",  # on CPUs, XLA is slower than TensorFlow's own kernels
        )
        return trainer


class NetworkPredictor:
    """A network for prediction only."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes)."""
        starts = range(0, len(images), PREDICTION_BATCH_SIZE)
        logits = [self.model.predict_on_batch(images[start : start + PREDICTION_BATCH_SIZE]) for start in starts]
        return softmax(np.concatenate(logits).astype(np.float64), axis=1)


def load_network(path: Path) -> NetworkPredictor:
    """Load a saved network; safe mode rejects layers that could execute code."""
    return NetworkPredictor(keras.saving.load_model(path, compile=False, safe_mode=True))


def _shift(images: Any, down: int, right: int) -> Any:
    """Shift images by a number of pixels, filling with zeros; uses layers that Keras can save and load."""
    before, after = ((max(down, 0), max(right, 0)), (max(-down, 0), max(-right, 0)))
    padded = layers.ZeroPadding2D(tuple(zip(before, after, strict=True)), dtype="uint8")(images)
    return layers.Cropping2D(tuple(zip(after, before, strict=True)), dtype="uint8")(padded)


def _enable_tensorflow_determinism() -> None:
    """Make results reproducible for a seed: sums keep their order with any number of threads."""
    import tensorflow

    tensorflow.config.experimental.enable_op_determinism()
