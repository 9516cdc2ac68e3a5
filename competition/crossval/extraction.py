"""Compute the features of a competition's images by a pretrained network, once for all folds and members.

The weights never saw a label of the competition, so that features of held-out rows may be computed with the others.
Chunks of images are tasks of the workers. Each finished one is a file, so that a run that was killed goes on.
"""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.data.features import PARTS, Features, combine_digests
from competition.data.pictures import Chunk, read_chunk, split_into_chunks
from competition.errors import UserError
from competition.files import atomic_file, make_folder, wait_for_lock
from competition.models.pretrained.extractor import Extractor
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

CHUNK_ROWS = 256  # a few seconds on one core
MIN_SIDE = 48  # smaller images are not photographs: a network of 224 pixels sees little in them

OnProgress = Callable[[int, int], None]  # (images that are done, images in total)


@dataclass(frozen=True)
class Extraction:
    """What is needed to extract features: the network and the competition."""

    extractor: Extractor
    folder: Path
    config: Config


def with_features(dataset: Dataset, folder: Path, config: Config) -> Dataset:
    """The Dataset with its features, if a pretrained network suits its images; they need not be extracted yet."""
    if not uses_pretrained(dataset, config):
        return dataset
    extractor = Extractor()
    digest = combine_digests(dataset.digest, extractor.digest)
    features = Features(folder.absolute() / "cache" / "features" / digest[:16], digest, extractor.dimensions)
    return replace(dataset, features=features)


def uses_pretrained(dataset: Dataset, config: Config) -> bool:
    """Whether to use a pretrained network: as configured, by default for coloured images of some size."""
    if config.pretrained is not None:
        return config.pretrained
    height, width, channels = dataset.images.shape[1:]
    return channels == 3 and max(dataset.layout.image_side, height, width) > MIN_SIDE


def extract_features(extraction: Extraction, dataset: Dataset, workers: Workers, on_progress: OnProgress) -> None:
    """Extract the Dataset's features with the workers, unless they exist."""
    features = dataset.features
    assert features
    with wait_for_lock(features.folder.parent):
        if features.are_complete:
            return
        chunks = split_into_chunks(extraction.folder, dataset, extraction.config, CHUNK_ROWS)
        partial_folder = features.folder.with_suffix(".partial")
        make_folder(partial_folder)
        waiting = [chunk for chunk in chunks if _read_finished(partial_folder, chunk, features) is None]
        total = sum(chunk.stop - chunk.start for chunk in chunks)
        done = total - sum(chunk.stop - chunk.start for chunk in waiting)
        on_progress(done, total)
        function = partial(_extract_chunk, extraction=extraction, dataset=dataset)
        for chunk, outcome in workers.run(function, take_in_order(waiting), ignore_event):
            array = result_or_raise(f"extracting features of {chunk.name}", outcome)
            with atomic_file(_chunk_path(partial_folder, chunk)) as temporary:
                np.savez(temporary, features=array)
            done += chunk.stop - chunk.start
            on_progress(done, total)
        _join(partial_folder, chunks, features)
        shutil.rmtree(partial_folder)


def _extract_chunk(chunk: Chunk, emit: Emit, extraction: Extraction, dataset: Dataset) -> np.ndarray:
    """Runs in a worker: the features of a chunk."""
    images = read_chunk(chunk, dataset, extraction.extractor.size)
    return extraction.extractor.extract(images)


def _join(folder: Path, chunks: Sequence[Chunk], features: Features) -> None:
    """Write the features of all chunks to the final files."""
    rows = {part: max((chunk.stop for chunk in chunks if chunk.part == part), default=0) for part in PARTS}
    with features.create_files(rows) as arrays:
        for chunk in chunks:
            array = _read_finished(folder, chunk, features)
            if array is None:
                raise UserError(f"{_chunk_path(folder, chunk)} was damaged during the run; run again")
            arrays[chunk.part][chunk.start : chunk.stop] = array


def _read_finished(folder: Path, chunk: Chunk, features: Features) -> np.ndarray | None:
    """The features of a chunk that an earlier run finished; its zip file contains a checksum."""
    try:
        with np.load(_chunk_path(folder, chunk), allow_pickle=False) as file:
            array = file["features"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return array if array.shape == (chunk.stop - chunk.start, *features.shape) else None


def _chunk_path(folder: Path, chunk: Chunk) -> Path:
    return folder / f"{chunk.part}-{chunk.start:08}.npz"
