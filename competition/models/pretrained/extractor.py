"""Features of images from a pretrained network. Importing this module loads no deep-learning library."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from competition.data.features import VIEWS
from competition.errors import UserError
from competition.models.backend import keras_backend
from competition.models.libraries import installed_version
from competition.models.networks.recipe import native_precision
from competition.models.pretrained.state_dict import StateDictError
from competition.models.pretrained.weights import LICENCE, WEIGHTS_DIGEST, WHEEL_FILE, read_weights
from competition.models.source import module_digest

Kind = Literal["efficientnet-lite0", "keras", "onnx"]
MODULES: dict[Kind, str] = {
    "efficientnet-lite0": "competition.models.pretrained.efficientnet_lite",
    "keras": "competition.models.pretrained.applications",
    "onnx": "competition.models.pretrained.onnx_network",
}
BATCH_SIZE = 16  # fixed, so that features do not depend on how images are divided among workers
BATCH_PIXELS = BATCH_SIZE * 224**2  # batches of larger images are smaller
LARGEST = float(np.finfo(np.float16).max)  # features are stored in 16 bits


def _native_precision() -> str:
    """16 bits where the processor multiplies these natively and the backend uses that."""
    return native_precision().removeprefix("mixed_") if keras_backend() == "tensorflow" else "float32"


@dataclass(frozen=True)
class Extractor:
    """A pretrained network: its weights, how images are shown to it and the precision of its arithmetic."""

    name: str = "EfficientNet-Lite0"
    weights: str = WEIGHTS_DIGEST  # SHA-256
    licence: str = LICENCE
    size: int = 224  # of the images, which are square
    dimensions: int = 1280  # of the features
    precision: str = field(default_factory=_native_precision)
    kind: Kind = "efficientnet-lite0"
    normalization: str = ""  # of the pixels, if that is not part of the network's source
    file: Path = field(default=Path(WHEEL_FILE), compare=False)  # where the weights are
    content: bytes | None = field(default=None, compare=False, repr=False)  # of the file, where there is no file

    @property
    def digest(self) -> str:
        """A digest of everything that determines the features of an image."""
        libraries = ("onnxruntime",) if self.kind == "onnx" else ("keras", keras_backend())
        versions = [f"{library} {installed_version(library)}" for library in libraries]
        settings = [self.name, self.weights, str(self.size), str(self.dimensions), self.precision]
        settings += [self.normalization] if self.normalization else []
        sources = [module_digest(MODULES[self.kind]), module_digest("competition.data.images")]  # which resizes them
        parts = [*settings, str(VIEWS), *sources, *versions]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def describe(self) -> str:
        """The network, for messages."""
        origin = f"trained on ImageNet ({self.licence})" if self.licence else f"with weights of {self.file.name}"
        return f"{self.name} {origin}, {self.size}x{self.size} pixels, {self.precision}"

    def with_content(self) -> "Extractor":
        """The same with the content of its file, to be sent to another machine."""
        return replace(self, content=self.file.read_bytes())

    @property
    def batch_size(self) -> int:
        """Number of images that are processed at a time."""
        return max(1, min(BATCH_SIZE, BATCH_PIXELS // self.size**2))

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Features (rows, views, dimensions) in float16 of uint8 images (rows, size, size, 3) and their mirror images.

        The weights are read on the first call.
        """
        predict = _load_network(self)
        features = np.empty((len(images), VIEWS, self.dimensions), np.float16)
        batch_size = self.batch_size
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            # All batches have the same size: another would be compiled anew.
            padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
            for view, pixels in enumerate((padded, padded[:, :, ::-1])):
                rows = np.asarray(predict(np.ascontiguousarray(pixels)))[: len(batch)]
                features[start : start + batch_size, view] = np.clip(rows, -LARGEST, LARGEST)
        return features


def build_keras_network(extractor: Extractor) -> Any:
    """The network as a Keras model from uint8 images (rows, size, size, 3) to features."""
    if extractor.kind == "keras":
        from competition.models.pretrained.applications import build_application

        with _weights_file(extractor) as file:
            return build_application(extractor.name, file, extractor.size, extractor.precision)
    from competition.models.pretrained.efficientnet_lite import build_network

    try:
        weights = read_weights(extractor.file, extractor.weights, extractor.content)
    except StateDictError as error:
        raise UserError(str(error)) from None
    return build_network(weights, extractor.size, extractor.precision)


@contextmanager
def _weights_file(extractor: Extractor) -> Iterator[Path]:
    """The file of weights, written to a temporary folder if only its content is here."""
    if extractor.content is None:
        yield extractor.file
        return
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / extractor.file.name
        file.write_bytes(extractor.content)
        yield file


@cache
def _load_network(extractor: Extractor) -> Callable[[np.ndarray], Any]:
    """The network's prediction for a batch; loaded once in each process."""
    if extractor.kind == "onnx":
        from competition.models.pretrained.onnx_network import load_onnx

        return load_onnx(extractor.file, extractor.content, extractor.normalization)
    import keras

    network = build_keras_network(extractor)
    network.compile(jit_compile=keras.backend.backend() == "jax")  # on CPUs, XLA is slower than TensorFlow's kernels
    return network.predict_on_batch
