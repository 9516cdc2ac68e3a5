"""Features of images from a pretrained network. Importing this module loads no deep-learning library."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.features import VIEWS
from competition.models.backend import keras_backend
from competition.models.networks.recipe import native_precision
from competition.models.pretrained.weights import LICENCE, WEIGHTS_DIGEST, WHEEL, read_weights
from competition.models.source import module_digest

NETWORK_MODULE = "competition.models.pretrained.efficientnet_lite"
BATCH_SIZE = 16  # fixed, so that features do not depend on how images are divided among workers


def _native_precision() -> str:
    """bfloat16 where the CPU multiplies it natively and the backend uses that."""
    return native_precision().removeprefix("mixed_") if keras_backend() == "tensorflow" else "float32"


@dataclass(frozen=True)
class Extractor:
    """A pretrained network: its weights, how images are shown to it and the precision of its arithmetic."""

    name: str = "EfficientNet-Lite0"
    weights: str = WEIGHTS_DIGEST  # SHA-256
    licence: str = LICENCE
    size: int = 224  # of the images, which are square; the network was trained at this size
    dimensions: int = 1280  # of the features
    precision: str = field(default_factory=_native_precision)
    wheel: Path = field(default=Path(WHEEL.file), compare=False)  # where the weights are

    @property
    def digest(self) -> str:
        """A digest of everything that determines the features of an image; the source contains the normalization."""
        backend = keras_backend()
        versions = [f"{library} {version(library)}" for library in ("keras", backend)]
        settings = [self.name, self.weights, str(self.size), str(self.dimensions), self.precision]
        parts = [*settings, str(VIEWS), module_digest(NETWORK_MODULE), *versions]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def describe(self) -> str:
        """The network, for messages."""
        return f"{self.name} trained on ImageNet ({self.licence}), {self.size}x{self.size} pixels, {self.precision}"

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Features (rows, views, dimensions) in float16 of uint8 images (rows, size, size, 3) and their mirror images.

        The weights are read on the first call.
        """
        predict = _load_network(self)
        features = np.empty((len(images), VIEWS, self.dimensions), np.float16)
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            # All batches have the same size: another would be compiled anew.
            padded = np.concatenate([batch, np.zeros((BATCH_SIZE - len(batch), *batch.shape[1:]), np.uint8)])
            for view, pixels in enumerate((padded, padded[:, :, ::-1])):
                features[start : start + BATCH_SIZE, view] = predict(np.ascontiguousarray(pixels))[: len(batch)]
        return features


@cache
def _load_network(extractor: Extractor) -> Callable[[np.ndarray], Any]:
    """The network's prediction for a batch; loaded once in each process."""
    import keras

    from competition.models.pretrained.efficientnet_lite import build_network

    network = build_network(read_weights(extractor.wheel, extractor.weights), extractor.size, extractor.precision)
    network.compile(jit_compile=keras.backend.backend() == "jax")  # on CPUs, XLA is slower than TensorFlow's kernels
    return network.predict_on_batch
