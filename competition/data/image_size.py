"""The size at which image files are used, and how they are reduced to it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from competition.data.config import CONFIG_FILE, Config
from competition.data.images import GREY, open_image, read_size, resize_image

SAMPLED_IMAGES = 200  # to choose a size
NATIVE_SIDE = 64  # images of a single size are used as they are up to this side
TRAINING_PIXELS = 3e8  # seen while a network is trained, which bounds its time
EPOCHS, MIN_IMAGES = 11, 128_000  # seen by then: epochs of all rows, but at least so many images
MIN_SIDE, MAX_SIDE = 32, 48  # of the chosen size


def choose_shape(paths: Sequence[Path], config: Config) -> tuple[tuple[int, ...], str]:
    """Choose height, width and channels, and explain the choice; images of a single small size stay as they are."""
    if config.shape:
        return config.shape, ""
    sizes = _sample_sizes(paths)
    channels = 1 if all(_is_grey(open_image(path, NATIVE_SIDE)) for path in _sample(paths)) else 3
    is_uniform = bool((sizes == sizes[0]).all())
    if is_uniform and not config.size and sizes[0].max() <= NATIVE_SIDE:
        return (int(sizes[0, 1]), int(sizes[0, 0]), channels), ""
    aspect = float(np.median(sizes[:, 0] / sizes[:, 1]))
    side = config.size or _affordable_side(len(paths))
    largest = max(np.median(sizes, axis=0))
    if not config.size:
        side = min(side, max(round(largest), 8))
    # The area is that of a square, so that the time does not depend on the aspect ratio.
    width, height = max(8, round(side * aspect**0.5)), max(8, round(side / aspect**0.5))
    shown = (
        f"{sizes[0, 0]}x{sizes[0, 1]}" if is_uniform else f"sizes from {_show(sizes.min(0))} to {_show(sizes.max(0))}"
    )
    note = (
        f"images of {shown} pixels are resized to {width}x{height}; to change that, set size = {side} in {CONFIG_FILE}"
    )
    return (height, width, channels), note


def median_side(paths: Sequence[Path]) -> int:
    """The median of the longer side of a sample of the image files."""
    return round(float(np.median(_sample_sizes(paths).max(axis=1))))


def read_image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels (height, width) or (height, width, 3) of an image file in this shape."""
    height, width, channels = shape
    image = open_image(path, max(height, width))
    return resize_image(image.convert("L" if channels == 1 else "RGB"), width, height)


def _sample(paths: Sequence[Path]) -> Sequence[Path]:
    return paths[:: max(1, len(paths) // SAMPLED_IMAGES)]


def _sample_sizes(paths: Sequence[Path]) -> np.ndarray:
    """The (width, height) of each image of the sample."""
    return np.array([read_size(path) for path in _sample(paths)])


def _affordable_side(rows: int) -> int:
    """The side of square images that a network can be trained on in a few minutes per fold, rounded to eighths."""
    side = (TRAINING_PIXELS / max(MIN_IMAGES, EPOCHS * rows)) ** 0.5
    return int(np.clip(side // 8 * 8, MIN_SIDE, MAX_SIDE))


def _is_grey(image: Image.Image) -> bool:
    """Whether the three channels agree, up to artefacts of compression."""
    if image.mode in GREY:
        return True
    pixels = np.asarray(image.convert("RGB"))
    return bool((pixels.max(axis=2) - pixels.min(axis=2) <= 8).mean() > 0.999)


def _show(size: np.ndarray) -> str:
    return f"{size[0]}x{size[1]}"
