"""Compute the features of a competition's images by a pretrained network, once for all folds and members.

The weights never saw a label of the competition, so that features of held-out rows may be computed with the others.
Chunks of images are tasks of the workers. Each finished one is a file, so that a run that was killed continues.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.config import Config
from competition.data.dataset import Dataset
from competition.data.features import PARTS, VIEWS, Features, combine_digests
from competition.data.pictures import Chunk, ReceivedChunk, RemoteChunk, split_into_chunks
from competition.errors import UserError
from competition.files import atomic_file, make_folder, wait_for_lock
from competition.models.backend import keras_backend
from competition.models.pretrained.extractor import Extractor
from competition.models.pretrained.sources import find_extractor
from competition.workers.base import Emit, Workers, result_or_raise, take_in_order
from competition.workers.events import ignore_event

CHUNK_ROWS = 256  # a few seconds on one core
# On one core of the reference machine, for an image and its mirror image: 0.55 times those in
# docs/guide/photographs.md, measured on a machine that multiplied matrices at 110 GFLOP/s instead of 200.
SECONDS_PER_IMAGE = {("tensorflow", "bfloat16"): 0.011, ("jax", "float32"): 0.037}
FLOAT32_SECONDS = 0.028
REFERENCE_BYTES = 17e6  # of the weights of EfficientNet-Lite0
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
    extractor = find_extractor(config, folder)
    digest = combine_digests(dataset.digest, extractor.digest)
    features = Features(folder.absolute() / "cache" / "features" / digest[:16], digest, extractor.dimensions)
    return replace(dataset, features=features)


def uses_pretrained(dataset: Dataset, config: Config) -> bool:
    """Whether to use a pretrained network: as configured, by default for colour images that are large enough."""
    if config.pretrained is not None:
        return bool(config.pretrained)
    height, width, channels = dataset.images.shape[1:]
    return channels == 3 and max(dataset.layout.image_side, height, width) > MIN_SIDE


def extract_features(extraction: Extraction, dataset: Dataset, workers: Workers, on_progress: OnProgress) -> None:
    """Extract the Dataset's features with the workers, unless they exist."""
    features = dataset.features
    assert features
    with wait_for_lock(features.folder.parent):
        if features.are_complete:
            _remove_partial_folders(features.folder.parent)
            return
        chunks = split_into_chunks(extraction.folder, dataset, extraction.config, CHUNK_ROWS)
        partial_folder = features.folder.with_suffix(".partial")
        make_folder(partial_folder)
        waiting = [chunk for chunk in chunks if _read_finished(partial_folder, chunk, features) is None]
        total = sum(chunk.stop - chunk.start for chunk in chunks)
        done = total - sum(chunk.stop - chunk.start for chunk in waiting)
        on_progress(done, total)
        for chunk, array in _extract_chunks(extraction.extractor, waiting, dataset, workers):
            with atomic_file(_chunk_path(partial_folder, chunk)) as temporary:
                np.savez(temporary, features=array)
            done += chunk.stop - chunk.start
            on_progress(done, total)
        _join(partial_folder, chunks, features)
        _remove_partial_folders(features.folder.parent)


def _remove_partial_folders(folder: Path) -> None:
    """Remove what interrupted runs have left, also of other networks or versions."""
    for path in folder.glob("*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def extract_test_features(extraction: Extraction, dataset: Dataset, workers: Workers) -> np.ndarray:
    """The features of the test images (rows, views, dimensions), which are not saved."""
    chunks = split_into_chunks(extraction.folder, dataset, extraction.config, CHUNK_ROWS)
    features = np.empty((len(dataset.test_ids), VIEWS, extraction.extractor.dimensions), np.float16)
    test_chunks = [chunk for chunk in chunks if chunk.part == "test"]
    for chunk, array in _extract_chunks(extraction.extractor, test_chunks, dataset, workers):
        features[chunk.start : chunk.stop] = array
    return features


def read_test_images(extraction: Extraction, dataset: Dataset, rows: int) -> np.ndarray:
    """The first test images at the size of the network."""
    chunks = split_into_chunks(extraction.folder, dataset, extraction.config, rows)
    first = next(chunk for chunk in chunks if chunk.part == "test")
    return first.read(dataset, extraction.extractor.size)


def estimate_seconds(dataset: Dataset, extractor: Extractor) -> float:
    """Seconds that one core of the reference machine needs to extract the features; 0 if that is done."""
    if not dataset.features or dataset.features.are_complete:
        return 0.0
    per_image = SECONDS_PER_IMAGE.get((keras_backend(), extractor.precision), FLOAT32_SECONDS)
    if extractor.kind != "efficientnet-lite0":  # its number of operations is not known, but the size of its weights
        per_image *= extractor.file.stat().st_size / REFERENCE_BYTES * (extractor.size / 224) ** 2
    return per_image * (len(dataset.labels) + len(dataset.test_ids))


def _extract_chunks(
    extractor: Extractor, chunks: Sequence[Chunk], dataset: Dataset, workers: Workers
) -> Iterator[tuple[Chunk, np.ndarray]]:
    """Yield each chunk with its features, in any order."""
    tasks: dict[Any, Chunk] = {replace(chunk, wants_gpu=extractor.kind != "onnx"): chunk for chunk in chunks}
    function = partial(_extract_chunk, extractor=extractor, digest=extractor.digest, dataset=dataset)
    if not workers.share_files:
        function = partial(function, extractor=extractor.with_content())
        if all(chunk.paths for chunk in chunks):
            tasks = {RemoteChunk(task, extractor.size): chunk for task, chunk in tasks.items()}
            function = partial(function, dataset=None)
    for task, outcome in workers.run(function, take_in_order(tasks), ignore_event):
        yield tasks[task], result_or_raise(f"extracting features of {task.name}", outcome)


def _extract_chunk(
    chunk: Chunk | ReceivedChunk, emit: Emit, extractor: Extractor, digest: str, dataset: Dataset | None
) -> np.ndarray:
    """Runs in a worker: the features of a chunk."""
    if extractor.digest != digest:
        raise RuntimeError("the worker's libraries or source of the pretrained network differ from the driver's")
    return extractor.extract(chunk.read(dataset, extractor.size))


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
