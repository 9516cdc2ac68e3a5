"""The training loop of Keras networks: a Recipe holds the hyperparameters, a function builds the layers."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import layers, ops
from scipy.special import expit, softmax

from competition.data.augmentation import SYMMETRIES, Augmentation, Symmetry
from competition.models.gpus import trains_on_gpu
from competition.models.interface import (
    FEW_IMAGES,
    Checkpoint,
    Epoch,
    EpochCallback,
    Images,
    Target,
    TrainingState,
)
from competition.models.networks.augmentation import AdjustableAugmentation, RandomAugmentation
from competition.models.networks.augmentation_choice import choose_augmentation, compares_augmentations, describe_choice
from competition.models.networks.border import Border, find_blank_border, respect_symmetries
from competition.models.networks.deskew import deskew
from competition.models.networks.fast_layers import fold_batch_normalization
from competition.models.networks.layers import conv_bn_relu, max_pool
from competition.models.networks.recipe import UNSHIFTED, Recipe
from competition.models.networks.trainers import Trainer, TrainingRows, create_trainer, state_variables
from competition.models.networks.views import View, apply_view, choose_views
from competition.models.polarity import find_white

Backbone = Callable[[Any], Any]  # maps images in 0..1 to features

PREDICTION_BATCH_SIZE = 500
PREDICTION_VALUES = 32_000_000  # of the largest layer's output for a batch, which bounds memory
MIN_PREDICTION_BATCH_SIZE = 16
# Between the two largest logits, or of each label's logit from 0; see docs/experiments/training.md.
CONFIDENT_MARGIN = 3.5
CONFIDENT_SHARE = 0.8  # of the margin that label smoothing aims at: also 3.5 for `quick` on ten classes

# Of the small network that compares augmentations.
SMALL_RECIPE: dict[str, Any] = {
    "epochs": 1,
    "min_steps": 250,
    "batch_size": 128,
    "shifts": (UNSHIFTED,),
    "deskew": False,
}

OUTPUTS = {"class": "logits", "labels": "label_logits"}  # of a saved network, by which it is known what they mean


class Network:
    """A Keras classifier trained by a recipe.

    The network sees images without their blank border, inverted if their background is light, and its normalizations
    train with a fused kernel; what is saved takes whole images as they are and has only layers of Keras.
    """

    suffix = ".keras"
    remark = ""
    white: int | None  # the value that is inverted to 0, if the background is light
    network: keras.Model  # from images, prepared as by `_prepare`, to logits
    views: tuple[View, ...]  # that predictions average
    _predictor: "NetworkPredictor | None" = None

    def __init__(self, backbone: Backbone, recipe: Recipe, seed: int, shape: tuple[int, ...], target: Target) -> None:
        self.backbone = backbone
        self.recipe = recipe
        self.seed = seed
        self.shape = shape
        self.target = target

    def fit(
        self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback, checkpoint: Checkpoint | None = None
    ) -> Self:
        """Train for all epochs of the recipe; the callback sees each epoch but cannot influence training.

        Epochs that were finished before the checkpoint are not repeated.
        """
        self._start_session()
        self.white = find_white(images)
        if self.recipe.deskew:
            images = self._prepare_all(images)
        state = checkpoint.load() if checkpoint else None
        augmentation = _restore_augmentation(state) if state else self._choose_augmentation(images, labels)
        if augmentation and augmentation != self.recipe.augmentation:
            self.remark = describe_choice(augmentation)
        self._start_session()  # again, since small networks may have been trained
        symmetries = (augmentation.symmetries if augmentation else None) or ()
        self.network = self._build_network(images.shape[1:], self._find_border(images, symmetries))
        self.views = choose_views(self.recipe.shifts, symmetries)
        rows = self._training_rows(images, labels)
        trainer = create_trainer(self._augmented_network(augmentation), rows, self._compile)
        rng = np.random.default_rng(self.seed)
        if state:
            _restore_state(trainer.model, rng, state)
        finished = state.epoch if state else 0
        first_view = NetworkPredictor(self._add_views(self.network, self.views[:1]))
        for epoch in range(finished + 1, rows.epochs + 1):
            start_time = time.perf_counter()
            loss = _train_epoch(trainer, rows, epoch, rng)
            images_per_second = rows.batch_size * rows.steps_per_epoch / (time.perf_counter() - start_time)
            self._predictor = None
            result = Epoch(epoch, rows.epochs, loss, images_per_second, first_view.predict_proba)
            on_epoch_end(result)
            if checkpoint:
                checkpoint.save(result, partial(_read_state, trainer.model, rng, epoch, augmentation))
        return self

    def make_train_function(self, images: Images, labels: np.ndarray) -> Callable[[Augmentation], "NetworkPredictor"]:
        """Return a function that trains the network from the start with a given augmentation.

        The network is compiled once for all calls. They share its weights, so each call also changes what the
        predictors that it returned before predict.
        """
        self._start_session()
        self.white = find_white(images)
        if self.recipe.deskew:
            images = self._prepare_all(images)
        self.network = self._build_network(images.shape[1:], self._find_border(images, SYMMETRIES))
        augment = AdjustableAugmentation(self.seed)
        rows = self._training_rows(images, labels)
        trainer = create_trainer(lambda inputs: self.network(augment(self._prepare_batch(inputs))), rows, self._compile)
        trainer.model.optimizer.build(trainer.model.trainable_variables)
        variables = state_variables(trainer.model)
        initial_values = [ops.convert_to_numpy(variable) for variable in variables]

        @cache
        def predictor(views: tuple[View, ...]) -> NetworkPredictor:
            return NetworkPredictor(self._add_views(self.network, views))

        def train(augmentation: Augmentation) -> NetworkPredictor:
            _assign(variables, initial_values)
            augment.adjust(augmentation)
            rng = np.random.default_rng(self.seed)
            for epoch in range(1, rows.epochs + 1):
                _train_epoch(trainer, rows, epoch, rng)
            return predictor(choose_views(self.recipe.shifts, augmentation.symmetries or ()))

        return train

    def _start_session(self) -> None:
        """Forget other networks, and set what the results depend on."""
        keras.utils.clear_session()
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(self.recipe.precision)
        if keras.backend.backend() == "tensorflow" and not trains_on_gpu():  # Keras would not use XLA
            _enable_tensorflow_determinism()

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, outputs), with test-time augmentation."""
        return self._build_predictor().predict_proba(images)

    def save(self, path: Path) -> None:
        """Write the network with its test-time augmentation, without optimizer and training augmentation."""
        self._build_predictor().model.save(path)

    def _targets(self, labels: np.ndarray) -> np.ndarray:
        """Return the probabilities to learn (rows, outputs): those of labels are smoothed towards their frequency."""
        if self.target.kind == "class":
            return np.eye(self.target.outputs, dtype=np.float32)[labels]
        smoothing, present = np.float32(self.recipe.label_smoothing), labels.astype(np.float32)
        return (1 - smoothing) * present + smoothing * present.mean(axis=0)

    def _build_predictor(self) -> "NetworkPredictor":
        """Build a predictor from the current weights, once after each epoch."""
        if self._predictor is None:
            folded = fold_batch_normalization(self.network)
            self._predictor = NetworkPredictor(self._add_views(folded, self.views))
        return self._predictor

    def _find_border(self, images: Images, symmetries: tuple[Symmetry, ...]) -> Border:
        """Return the border to cut away; augmentation comes before."""
        if not self.recipe.crop_border:
            return Border(0, 0, 0, 0)
        return respect_symmetries(find_blank_border(images), symmetries)

    def _build_network(self, shape: tuple[int, ...], border: Border) -> keras.Model:
        """Build the layers between images of this shape, with their border, and logits."""
        images = keras.Input(shape, dtype="uint8")
        cropping = ((border.top, border.bottom), (border.left, border.right))
        cropped = layers.Cropping2D(cropping, dtype="float32")(images)
        features = self.backbone(layers.Rescaling(1 / 255, dtype="float32")(cropped))
        return keras.Model(images, layers.Dense(self.target.outputs, dtype="float32", name="logits")(features))

    def _add_views(self, network: keras.Model, views: Sequence[View]) -> keras.Model:
        """Return a model that outputs the mean logits over all views, those of the first, and its uncertainty."""
        images = keras.Input(self.shape, dtype="uint8")
        prepared = self._prepare(images)
        logits = [network(apply_view(prepared, view)) for view in views]
        mean = layers.Average(dtype="float32")(logits) if len(logits) > 1 else logits[0]
        margin = self._confident_margin() if len(views) > 1 else 0.0  # a single view is not predicted again
        is_uncertain = _smallest_margin(logits[0], self.target) < margin
        outputs = {OUTPUTS[self.target.kind]: mean, "first_view": logits[0], "is_uncertain": is_uncertain}
        return keras.Model(images, outputs)

    def _confident_margin(self) -> float:
        """Return the margin of the logits from which on a prediction is confident."""
        smoothing = self.recipe.label_smoothing
        if not smoothing:
            return CONFIDENT_MARGIN
        # Label smoothing trains the network to this margin.
        classes = self.target.outputs if self.target.kind == "class" else 1
        return CONFIDENT_SHARE * math.log(1 + classes * (1 - smoothing) / smoothing)

    def _choose_augmentation(self, images: Images, labels: np.ndarray) -> Augmentation | None:
        """The recipe's augmentation; what it leaves open is measured on the images."""
        augmentation = self.recipe.augmentation
        if not augmentation:
            return None
        is_compared = compares_augmentations(images, augmentation, self.recipe.steps(len(images)))
        make_train_function = self._make_small_train_function if is_compared else None
        return choose_augmentation(images, labels, augmentation, self.seed, make_train_function)

    def _make_small_train_function(
        self, images: Images, labels: np.ndarray
    ) -> Callable[[Augmentation], "NetworkPredictor"]:
        """Return a function that trains a small network with an augmentation, to compare augmentations."""
        recipe = replace(self.recipe, **SMALL_RECIPE)
        small = Network(_small_backbone, recipe, self.seed, images.shape[1:], self.target)
        return small.make_train_function(images, labels)

    def _training_rows(self, images: Images, labels: np.ndarray) -> TrainingRows:
        batch_size = min(self.recipe.batch_size, len(images))
        steps = self.recipe.steps(len(images))
        return TrainingRows(images, self._targets(labels), batch_size, self._rates(steps))

    def _rates(self, steps: int) -> list[float]:
        """The learning rate of each step."""
        return [self.recipe.peak_learning_rate * self.recipe.schedule(step / steps) for step in range(steps)]

    def _augmented_network(self, augmentation: Augmentation | None) -> Callable[[Any], Any]:
        """The function from images to logits that is trained."""
        if not augmentation:
            return lambda images: self.network(self._prepare_batch(images))
        augment = RandomAugmentation(augmentation, self.seed)
        return lambda images: self.network(augment(self._prepare_batch(images)))

    def _prepare(self, images: Any) -> Any:
        """Invert and deskew images, if that is to be done, by operations that Keras can save and load."""
        if self.white is not None:
            images = ops.cast(images, "int32")
            images = ops.cast(ops.subtract(ops.maximum(images, self.white), images), "uint8")
        return deskew(images) if self.recipe.deskew else images

    def _prepare_all(self, images: Images) -> np.ndarray:
        """Prepare all images before training."""
        return np.concatenate([np.asarray(self._prepare(images[rows])) for rows in _batches(np.arange(len(images)))])

    def _prepare_batch(self, images: Any) -> Any:
        """Prepare a batch in training, unless all images were prepared before it."""
        return images if self.recipe.deskew else self._prepare(images)

    def _compile(self, model: keras.Model, learning_rate: Any, **options: Any) -> None:
        """Compile a model for training."""
        config = {"learning_rate": learning_rate, "weight_decay": self.recipe.weight_decay}
        optimizer = keras.optimizers.get({"class_name": self.recipe.optimizer, "config": config})
        model.compile(optimizer, self._loss(), **options)

    def _loss(self) -> keras.losses.Loss:
        if self.target.kind == "labels":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.recipe.label_smoothing)


def _read_state(
    trainer: keras.Model, rng: np.random.Generator, epoch: int, augmentation: Augmentation | None
) -> TrainingState:
    """Return the state after an epoch."""
    variables = [ops.convert_to_numpy(variable) for variable in state_variables(trainer)]
    return TrainingState(epoch, variables, rng.bit_generator.state, asdict(augmentation) if augmentation else None)


def _restore_augmentation(state: TrainingState) -> Augmentation | None:
    """The augmentation that was chosen before the first epoch."""
    if state.augmentation is None:
        return None
    return Augmentation(**{**state.augmentation, "symmetries": tuple(state.augmentation["symmetries"])})


def _restore_state(trainer: keras.Model, rng: np.random.Generator, state: TrainingState) -> None:
    """Continue from a saved state."""
    trainer.optimizer.build(trainer.trainable_variables)
    _assign(state_variables(trainer), state.variables)
    rng.bit_generator.state = state.row_order


def _assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _train_epoch(trainer: Trainer, rows: TrainingRows, epoch: int, rng: np.random.Generator) -> float:
    """Train for an epoch on the rows in random order; return the mean loss."""
    loss = trainer.train_epoch(epoch - 1, rng.permutation(len(rows.images)))
    if not np.isfinite(loss):
        reason = f"the loss is {loss} in epoch {epoch} of {rows.epochs}"
        raise FloatingPointError(f"training diverged: {reason}; lower the learning rate")
    return loss


class NetworkPredictor:
    """A network for prediction only, with its test-time augmentation."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.is_multilabel = OUTPUTS["labels"] in model.output
        self.all_views = keras.Model(model.input, model.output[OUTPUTS["labels" if self.is_multilabel else "class"]])
        self._first_view = keras.Model(model.input, [model.output["first_view"], model.output["is_uncertain"]])
        affordable = PREDICTION_VALUES // _largest_output(model)
        self._batch_size = int(np.clip(affordable, MIN_PREDICTION_BATCH_SIZE, PREDICTION_BATCH_SIZE))

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, outputs); the other views are predicted only where the first is uncertain."""
        return self._predict(images, keras.Model.predict_on_batch)

    def predict_once(self, images: Images) -> np.ndarray:
        """The same; a few images are predicted without compiling, which takes as long as hundreds of images."""
        is_slow = len(images) > FEW_IMAGES or keras.backend.backend() != "tensorflow"
        return self._predict(images, keras.Model.predict_on_batch if is_slow else _predict_eagerly)

    def _predict(self, images: Images, predict: Callable[[keras.Model, np.ndarray], Any]) -> np.ndarray:
        size = self._batch_size
        batches = [predict(self._first_view, images[rows]) for rows in _batches(np.arange(len(images)), size)]
        logits, is_uncertain = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        for rows in _batches(np.flatnonzero(is_uncertain), size):
            logits[rows] = predict(self.all_views, images[rows])
        return expit(logits.astype(np.float64)) if self.is_multilabel else softmax(logits.astype(np.float64), axis=1)


def _predict_eagerly(model: keras.Model, images: np.ndarray) -> Any:
    return keras.tree.map_structure(ops.convert_to_numpy, model(images, training=False))


def _small_backbone(images: Any) -> Any:
    """Reduce 28 pixels per side to 14, 7 and 4."""
    x = conv_bn_relu(images, 16, 3, strides=2)
    x = max_pool(conv_bn_relu(x, 32, 3))
    x = max_pool(conv_bn_relu(x, 64, 3))
    return layers.Flatten()(x)


def _smallest_margin(logits: Any, target: Target) -> Any:
    """Return the difference between the two largest logits of classes, or the distance from 0 of any label's logit."""
    if target.kind == "labels":
        return ops.min(ops.abs(logits), axis=1)
    largest = ops.top_k(logits, 2)[0]
    return ops.subtract(largest[:, 0], largest[:, 1])


def _batches(rows: np.ndarray, size: int = PREDICTION_BATCH_SIZE) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _largest_output(model: keras.Model) -> int:
    """Number of values of the largest output of a layer for one image."""
    return max(
        _largest_output(layer) if isinstance(layer, keras.Model) else int(np.prod(layer.output.shape[1:]))
        for layer in model.layers
    )


def load_network(path: Path) -> NetworkPredictor:
    """Load a saved network; safe mode rejects layers that could execute code."""
    return NetworkPredictor(keras.saving.load_model(path, compile=False, safe_mode=True))


def _enable_tensorflow_determinism() -> None:
    """Make results reproducible for a seed: sums keep their order with any number of threads."""
    import tensorflow

    tensorflow.config.experimental.enable_op_determinism()
