"""The only training loop of Keras networks; a Recipe says how, a function of layers says what.

The loop hands single batches to Keras instead of calling `fit`: each epoch of `fit` on TensorFlow 2.21 waited for a
background thread, up to 5 s on one core, and the batches' order would hang on the backend's random numbers.
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

from competition.data.augmentation import Warp
from competition.models.interface import Epoch, Images, Observer
from competition.models.networks.augmentation import RandomWarp
from competition.models.networks.recipe import Recipe
from competition.models.networks.symmetries import found

Layers = Callable[[Any], Any]  # features of an image in 0..1

ROWS_AT_ONCE = 500  # when predicting


class Network:
    """A network of one output per class, trained by a recipe."""

    suffix = ".keras"
    remark = ""

    def __init__(self, body: Layers, recipe: Recipe, seed: int, shape: tuple[int, ...], classes: int) -> None:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy(recipe.precision)
        if keras.backend.backend() == "tensorflow":
            _make_tensorflow_repeatable()
        self.recipe = recipe
        self.seed = seed
        self.classes = classes
        images = keras.Input(shape, dtype="uint8")
        features = body(layers.Rescaling(1 / 255, dtype="float32")(images))
        self.core = keras.Model(images, layers.Dense(classes, dtype="float32", name="logits")(features))
        logits = [self.core(_shifted(images, *view)) for view in recipe.views]
        self.model = keras.Model(images, layers.Average(dtype="float32")(logits)) if len(logits) > 1 else self.core

    def fit(self, images: Images, labels: np.ndarray, observer: Observer) -> Self:
        """Train for the recipe's whole length; the observer hears of each epoch and never steers."""
        trainer = self._trainer(self._warp(images, labels))
        wanted = np.eye(self.classes, dtype=np.float32)
        order = np.random.default_rng(self.seed)
        batch = min(self.recipe.batch, len(images))
        starts = range(0, len(images) - batch + 1, batch)
        epochs = self.recipe.epochs_of(len(starts))
        steps = epochs * len(starts)
        done = 0
        learned = Kept(self.core)  # one view is enough to see how it goes
        for epoch in range(1, epochs + 1):
            trainer.reset_metrics()  # Keras tells the mean loss since the last time
            begun = time.perf_counter()
            rows = order.permutation(len(images))
            for start in starts:
                chosen = rows[start : start + batch]
                trainer.optimizer.learning_rate = self.recipe.peak * self.recipe.schedule(done / steps)
                loss = trainer.train_on_batch(images[chosen], wanted[labels[chosen]])
                done += 1
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss} in epoch {epoch} of {epochs}")
            speed = batch * len(starts) / (time.perf_counter() - begun)
            observer(Epoch(epoch, epochs, float(loss), speed, learned.predict_proba))
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return Kept(self.model).predict_proba(images)

    def save(self, path: Path) -> None:
        """Keep the network and its views, without its optimiser and augmentation."""
        self.model.save(path)

    def _warp(self, images: Images, labels: np.ndarray) -> Warp | None:
        """The recipe's warp, with the symmetries that these images have."""
        warp = self.recipe.warp
        if warp and warp.symmetries is None:
            symmetries = found(images, labels, self.seed)
            self.remark = f"augmented by {', '.join(symmetries)}" if symmetries else ""
            warp = replace(warp, symmetries=symmetries)
        return warp

    def _trainer(self, warp: Warp | None) -> keras.Model:
        """The network behind its augmentation, with its optimiser."""
        images = keras.Input(self.core.input_shape[1:], dtype="uint8")
        changed = RandomWarp(warp, self.seed)(images) if warp else images
        trainer = keras.Model(images, self.core(changed))
        settings = {"learning_rate": self.recipe.peak, "weight_decay": self.recipe.weight_decay}
        trainer.compile(
            keras.optimizers.get({"class_name": self.recipe.optimizer, "config": settings}),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.recipe.smoothing),
            jit_compile=keras.backend.backend() == "jax",  # on CPUs XLA is slower than TensorFlow's own kernels
        )
        return trainer


class Kept:
    """A trained network."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes)."""
        starts = range(0, len(images), ROWS_AT_ONCE)
        logits = [self.model.predict_on_batch(images[start : start + ROWS_AT_ONCE]) for start in starts]
        return softmax(np.concatenate(logits).astype(np.float64), axis=1)


def load(path: Path) -> Kept:
    """A kept network; only layers that Keras knows are admitted, so that loading runs no foreign code."""
    return Kept(keras.saving.load_model(path, compile=False, safe_mode=True))


def _shifted(images: Any, down: int, right: int) -> Any:
    """The images moved by so many pixels, zeros moving in; made of layers that Keras keeps and loads."""
    before, after = ((max(down, 0), max(right, 0)), (max(-down, 0), max(-right, 0)))
    padded = layers.ZeroPadding2D(tuple(zip(before, after, strict=True)), dtype="uint8")(images)
    return layers.Cropping2D(tuple(zip(after, before, strict=True)), dtype="uint8")(padded)


def _make_tensorflow_repeatable() -> None:
    """The same seed gives the same bytes: with threads of any number, sums keep their order."""
    import tensorflow

    tensorflow.config.experimental.enable_op_determinism()
