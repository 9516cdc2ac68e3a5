"""The weights of a pretrained network as a data set, for sessions on Kaggle, which are offline."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from competition.data.mounts import find_inputs, input_folder
from competition.deploy.kaggle_kernels import write_dataset_metadata
from competition.errors import UserError
from competition.files import atomic_folder, sha256
from competition.models.pretrained.extractor import Extractor


def write_weights(folder: Path, dataset: str, extractor: Extractor, data: Path) -> dict[str, str]:
    """Write the data set with the weights; return what `link_weights` needs. `data` is the folder of competitions."""
    if not extractor.file.is_relative_to(data.absolute()):
        raise UserError(f"{extractor.file} is outside of {data}; move it into the competition's folder")
    path = extractor.file.relative_to(data.absolute()).as_posix()
    shutil.rmtree(folder, ignore_errors=True)  # it may hold the weights of another network
    with atomic_folder(folder) as temporary:
        shutil.copy(extractor.file, temporary / extractor.file.name)
        write_dataset_metadata(temporary, dataset)
    return {"dataset": dataset, "path": path, "sha256": sha256(extractor.file)}


def link_weights(weights: Mapping[str, str], data: Path) -> None:
    """Link the attached weights in `data`, where they are looked for."""
    target = data / weights["path"]
    found = (path for path in find_inputs(target.name) if sha256(path) == weights["sha256"])
    if (path := next(found, None)) is None:
        raise UserError(
            f"{target.name}, the weights of the pretrained network, is not in {input_folder()}; "
            f"add the data set {weights['dataset']}"
        )
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
