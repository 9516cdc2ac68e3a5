"""The images of a competition at any size, in colour, read from where they are."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from competition.data import tables
from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.data.image_files import read_rows
from competition.data.image_size import read_image
from competition.data.images import list_input_files, resize_image
from competition.data.inventory import SUFFIXES, list_files


@dataclass(frozen=True)
class Chunk:
    """Some rows of the training or test images, with the paths of their files; pixels in tables have none."""

    part: str
    start: int
    stop: int
    paths: tuple[Path, ...]
    wants_gpu: bool = True  # whether a network that runs on GPUs processes the images

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.part} images {self.start + 1}-{self.stop}"

    def read(self, dataset: Dataset | None, size: int) -> np.ndarray:
        """The images (rows, size, size, 3); those of tables are the Dataset's."""
        if self.paths:
            return np.stack([read_image(path, (size, size, 3)) for path in self.paths])
        assert dataset
        images = dataset.images if self.part == "train" else dataset.test_images
        return resize_all(images[self.start : self.stop], size)


@dataclass(frozen=True)
class RemoteChunk:
    """A chunk of image files for another machine: when it is pickled, the files are read and become part of it."""

    chunk: Chunk
    size: int  # of the images that will be read

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.chunk.name

    @property
    def wants_gpu(self) -> bool:
        """Whether a network that runs on GPUs processes the images."""
        return self.chunk.wants_gpu

    def __reduce__(self) -> tuple[Any, ...]:
        """Files that are larger than their pixels are sent as these."""
        limit = 3 * self.size**2
        contents = [
            path.read_bytes() if path.stat().st_size <= limit else read_image(path, (self.size, self.size, 3))
            for path in self.chunk.paths
        ]
        return ReceivedChunk, ([path.suffix for path in self.chunk.paths], contents)


@dataclass(frozen=True)
class ReceivedChunk:
    """What arrives of a RemoteChunk."""

    suffixes: Sequence[str]  # of the files' names
    contents: Sequence[bytes | np.ndarray]  # of the files, or pixels

    def read(self, dataset: Dataset | None, size: int) -> np.ndarray:
        """The images (rows, size, size, 3)."""
        shape = (size, size, 3)
        with tempfile.TemporaryDirectory() as folder:

            def read(suffix: str, content: bytes | np.ndarray) -> np.ndarray:
                if not isinstance(content, bytes):
                    return content
                path = Path(folder) / f"image{suffix}"
                path.write_bytes(content)
                return read_image(path, shape)

            return np.stack(list(map(read, self.suffixes, self.contents)))


def split_into_chunks(folder: Path, dataset: Dataset, config: Config, rows: int) -> list[Chunk]:
    """All images of the competition in `folder`, in chunks of so many rows."""
    inventory = list_files(folder)
    files: dict[str, Sequence[str]] = {}
    if tables.has_image_files(inventory):
        competition = read_rows(inventory, config)
        files = {"train": competition.images, "test": competition.test_images}
    chunks = []
    for part, images in (("train", dataset.images), ("test", dataset.test_images)):
        paths = files.get(part, ())
        for start in range(0, len(images), rows):
            stop = min(start + rows, len(images))
            chunks.append(Chunk(part, start, stop, tuple(folder.absolute() / path for path in paths[start:stop])))
    return chunks


def read_squares(paths: Sequence[Path], shape: tuple[int, ...], size: int) -> np.ndarray:
    """The images (rows, size, size, 3) of files and folders; tables have images of the shape."""
    return np.concatenate(
        [
            read_image(file, (size, size, 3))[None]
            if file.suffix.lower() in SUFFIXES
            else resize_all(tables.read_pixels(file, shape), size)
            for file in list_input_files(paths)
        ]
    )


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
    """Images (rows, height, width, 1 or 3) as squares (rows, size, size, 3)."""
    in_colour = np.broadcast_to(images, (*images.shape[:3], 3))
    return np.stack([resize_image(Image.fromarray(np.ascontiguousarray(image)), size, size) for image in in_colour])
