"""Networks in ONNX files, run by onnxruntime."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from competition.errors import UserError, first_line, missing_extra

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxShapes(NamedTuple):
    """What a network takes and returns."""

    batch: int | None  # rows of a batch; None: any
    channels_first: bool
    size: int | None  # of the square images; None: any
    dtype: Any
    dimensions: int  # of the features


def read_shapes(file: Path) -> OnnxShapes:
    """What the network in a file takes and returns; raise UserError unless it maps images to features."""
    stat = file.stat()
    return _read_shapes(file, stat.st_mtime_ns)


@cache
def _read_shapes(file: Path, modified: int) -> OnnxShapes:
    return _describe(file, _open(str(file), file))


def load_onnx(file: Path, content: bytes | None, normalization: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function from uint8 images (rows, size, size, 3) to features; `content` is the file's if there is no file."""
    session = _open(content or str(file), file)
    shapes, values = _describe(file, session), json.loads(normalization)
    scale, mean, std = (np.asarray(values[name], np.float32) for name in ("scale", "mean", "std"))
    name = session.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        pixels = ((images / scale - mean) / std).astype(shapes.dtype)
        if shapes.channels_first:
            pixels = pixels.transpose(0, 3, 1, 2)
        step = shapes.batch or len(pixels)
        batches = [session.run(None, {name: pixels[start : start + step]})[0] for start in range(0, len(pixels), step)]
        features = np.concatenate(batches).astype(np.float32)
        if features.ndim == 4:
            return features.mean(axis=(2, 3) if shapes.channels_first else (1, 2))
        return features

    return predict


def _open(model: str | bytes, file: Path) -> Any:
    """An onnxruntime session of one thread."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise missing_extra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each core has a worker
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own errors
        raise UserError(f"cannot read {file} as an ONNX network: {first_line(error)}") from None


def _describe(file: Path, session: Any) -> OnnxShapes:
    """The shapes of a session's first input and output."""
    inputs, output = session.get_inputs(), session.get_outputs()[0]
    taken, returned = inputs[0].shape, output.shape
    if len(inputs) != 1 or len(taken) != 4 or 3 not in (taken[1], taken[3]) or inputs[0].type not in TYPES:
        shown = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise UserError(
            f"{file} takes {shown}; expected images (rows, 3, height, width) or (rows, height, width, 3) in floats"
        )
    channels_first = taken[1] == 3
    sides = {side for side in (taken[2:] if channels_first else taken[1:3]) if isinstance(side, int)}
    dimensions = returned[1] if len(returned) == 2 or (len(returned) == 4 and channels_first) else returned[-1]
    if len(returned) not in (2, 4) or not isinstance(dimensions, int):
        raise UserError(
            f"{file} returns {output.name} {returned}; expected features (rows, features), or maps of them, which are "
            "averaged: export the network without its classifier"
        )
    if len(sides) > 1:
        raise UserError(f"{file} takes images of {' x '.join(map(str, sorted(sides)))} pixels; expected squares")
    batch = taken[0] if isinstance(taken[0], int) else None
    return OnnxShapes(batch, channels_first, next(iter(sides), None), TYPES[inputs[0].type], dimensions)
