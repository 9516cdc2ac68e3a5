"""Features of a competition's images from a pretrained network, in files next to the Dataset."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.errors import UserError, command
from competition.files import atomic_folder, find_damage, reserve_space, write_checksums

VIEWS = 2  # of each image: as it is, and mirrored
PARTS = ("train", "test")
FILES = tuple(f"{part}.npy" for part in PARTS)


@dataclass(frozen=True)
class Features:
    """The features in `folder`, which may still have to be extracted."""

    folder: Path
    digest: str  # of the images and the network
    dimensions: int

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of an image's features: views and dimensions."""
        return VIEWS, self.dimensions

    @property
    def are_complete(self) -> bool:
        """Whether they were extracted."""
        return self.folder.is_dir()

    def load(self, part: str) -> np.ndarray:
        """The features of the training or test images (rows, views, dimensions), mapped into memory."""
        try:
            return np.load(self.folder / f"{part}.npy", mmap_mode="r")
        except FileNotFoundError:
            name = self.folder.parents[2].name
            raise UserError(
                f"{self.folder} is missing; extract the features again: {command('cv', competition=name)}"
            ) from None

    def find_damage(self) -> str | None:
        """Describe what is wrong with the files, or None; reads all of them to compare their checksums."""
        return find_damage(self.folder, FILES)

    def remove_if_damaged(self) -> None:
        """Remove files with a wrong checksum, so that they are extracted again."""
        if self.are_complete and (damage := self.find_damage()):
            print(f"{damage}; extracting features again", file=sys.stderr, flush=True)
            shutil.rmtree(self.folder)

    @contextmanager
    def create_files(self, rows: dict[str, int]) -> Iterator[dict[str, np.memmap[Any, Any]]]:
        """Yield arrays to be filled, for so many rows of each part; the files appear when the block ends."""
        with atomic_folder(self.folder) as temporary:
            arrays = {
                part: np.lib.format.open_memmap(
                    temporary / f"{part}.npy", "w+", dtype=np.float16, shape=(rows[part], *self.shape)
                )
                for part in PARTS
                if rows[part]
            }
            for part in arrays:
                reserve_space(temporary / f"{part}.npy")
            for part in PARTS:
                if not rows[part]:  # an empty file cannot be mapped
                    np.save(temporary / f"{part}.npy", np.empty((0, *self.shape), np.float16))
            yield arrays
            for array in arrays.values():
                array.flush()
            write_checksums(temporary, FILES)


def combine_digests(*digests: str) -> str:
    """A digest of digests."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
