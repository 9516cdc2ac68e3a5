"""The images of a competition at any size, in colour, read from where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from competition.data import tables
from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.data.image_files import read_rows
from competition.data.image_size import read_pixels
from competition.data.images import list_input_files, resize_image
from competition.data.inventory import SUFFIXES, list_files


@dataclass(frozen=True)
class Chunk:
    """Some rows of the training or test images, with the paths of their files; pixels in tables have none."""

    part: str
    start: int
    stop: int
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.part} images {self.start + 1}-{self.stop}"


def split_into_chunks(folder: Path, dataset: Dataset, config: Config, rows: int) -> list[Chunk]:
    """All images of the competition in `folder`, in chunks of so many rows."""
    inventory = list_files(folder)
    files: dict[str, Sequence[str]] = {}
    if inventory.images:
        competition = read_rows(inventory, config)
        files = {"train": competition.images, "test": competition.test_images}
    chunks = []
    for part, images in (("train", dataset.images), ("test", dataset.test_images)):
        paths = files.get(part, ())
        for start in range(0, len(images), rows):
            stop = min(start + rows, len(images))
            chunks.append(Chunk(part, start, stop, tuple(folder.absolute() / path for path in paths[start:stop])))
    return chunks


def read_chunk(chunk: Chunk, dataset: Dataset, size: int) -> np.ndarray:
    """The images (rows, size, size, 3) of a chunk."""
    if chunk.paths:
        return np.stack([read_pixels(path, (size, size, 3)) for path in chunk.paths])
    images = dataset.images if chunk.part == "train" else dataset.test_images
    return resize_all(images[chunk.start : chunk.stop], size)


def read_squares(paths: Sequence[Path], shape: tuple[int, ...], size: int) -> np.ndarray:
    """The images (rows, size, size, 3) of files and folders; tables have images of the shape."""
    return np.concatenate(
        [
            read_pixels(file, (size, size, 3))[None]
            if file.suffix.lower() in SUFFIXES
            else resize_all(tables.read_pixels(file, shape), size)
            for file in list_input_files(paths)
        ]
    )


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
    """Images (rows, height, width, 1 or 3) as squares (rows, size, size, 3)."""
    in_colour = np.broadcast_to(images, (*images.shape[:3], 3))
    return np.stack([resize_image(Image.fromarray(np.ascontiguousarray(image)), size, size) for image in in_colour])
