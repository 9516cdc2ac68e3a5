"""What the script of `make kernel` runs in a Kaggle session: train and blend, or predict; both write submission.csv.

The working folder gets submission.csv, the submission log and folds/. The competition's files are linked, and unpacked,
in a temporary folder, because the outputs of a session are kept and limited.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.cli.run import DATA, FOLDS, SUBMISSIONS, RunOptions, open_competition, open_without_features
from competition.errors import UserError, shorten_list
from competition.files import describe_file_error, is_file_error

if TYPE_CHECKING:
    import numpy as np

    from competition.models.interface import Inputs

SUBMISSION = "submission.csv"
SESSION_SECONDS = 8 * 3600.0  # of the 9 hours after which Kaggle ends some sessions
MIN_SECONDS = 60.0  # for training, if everything else has used up the session


SessionFunction = Callable[[Mapping[str, Any], Path, float], None]  # (settings, bundled files, start time)


def train(settings: Mapping[str, Any], files: Path) -> int:
    """Train, blend and write submission.csv in the current folder; return the exit status."""
    return _run(_train, settings, files)


def predict(settings: Mapping[str, Any], files: Path) -> int:
    """Predict the test images with attached models, and write submission.csv; return the exit status."""
    return _run(_predict, settings, files)


def _run(task: SessionFunction, settings: Mapping[str, Any], files: Path) -> int:
    """Run the task in a temporary folder, whose folds/ and submissions are in the current folder."""
    start, working = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            _link_inputs(settings["competition"], files)
            _link_outputs(working)
            task(settings, files, start)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            if not is_file_error(error):
                raise
            print(f"error: {describe_file_error(error)}", file=sys.stderr)
        else:
            if not (working / SUBMISSION).exists():
                print("error: no model was completed in time; push again to continue", file=sys.stderr)
        finally:
            os.chdir(working)
    # The outputs of scripts that fail may be lost; the next session continues from folds and checkpoints.
    has_progress = any((working / FOLDS).glob("*/*/*/fold-*"))
    return 0 if has_progress or (working / SUBMISSION).exists() else 2


def _link_inputs(competition: str, files: Path) -> None:
    """Link the competition's mounted files in data/, with the configuration that the script bundles."""
    from competition.data.config import CONFIG_FILE
    from competition.data.mounts import find_competitions, find_mount, input_folder, link_files

    mount = find_mount(competition)
    if mount is None:
        attached = shorten_list(find_competitions(), 5) or "none"
        raise UserError(
            f"{competition} is not in {input_folder()}; add the competition to the notebook's inputs "
            f"(competitions attached: {attached})"
        )
    print(f"{competition}: files in {mount}", flush=True)
    link_files(mount, DATA / competition)
    if (files / CONFIG_FILE).exists():
        config = DATA / competition / CONFIG_FILE
        config.unlink(missing_ok=True)
        shutil.copyfile(files / CONFIG_FILE, config)


def _link_outputs(working: Path) -> None:
    """Keep folds/ in the working folder, and submission.csv next to it."""
    (working / FOLDS).mkdir(exist_ok=True)
    FOLDS.symlink_to(working / FOLDS, target_is_directory=True)
    SUBMISSIONS.symlink_to(working, target_is_directory=True)


def _train(settings: Mapping[str, Any], files: Path, start: float) -> None:
    """Continue from the attached output of an earlier session: train what is missing, and submit."""
    from competition.cli.submit import submit
    from competition.cli.train import time_limit
    from competition.deploy.pretrained_weights import link_weights

    if weights := settings.get("weights"):
        link_weights(weights, DATA)
    competition = open_competition(settings["competition"])
    _copy_earlier_folds(competition.name, competition.dataset.digest)
    if (files / "parameters").exists():
        shutil.copytree(files / "parameters", competition.folds_folder / "parameters", dirs_exist_ok=True)
    limit = max((settings["budget"] or SESSION_SECONDS) - (time.monotonic() - start), MIN_SECONDS)
    options = {name: settings[name] for name in ("models", "folds", "seed", "blend", "refit")}
    if settings["budget"]:
        submit(RunOptions(competition.name, budget=limit, **options))
        return
    # Without a budget no model is left out: what is unfinished at the end is continued by the next session.
    with time_limit(limit):
        submit(RunOptions(competition.name, **options))


def _predict(settings: Mapping[str, Any], files: Path, start: float) -> None:
    """Predict the mounted test images, of which Kaggle may have replaced those that were known in training."""
    from competition.crossval.extraction import Extraction, extract_test_features
    from competition.data.mounts import find_inputs, input_folder
    from competition.deploy.model_pack import PACK_FILE, read_pack
    from competition.deploy.predict import predict_combination
    from competition.files import sha256
    from competition.submission.format import write_submission
    from competition.workers.local import LocalWorkers

    (SUBMISSIONS / SUBMISSION).unlink(missing_ok=True)  # of other test images
    paths = [path for path in find_inputs(PACK_FILE) if sha256(path) == settings["pack"]]
    if not paths:
        raise UserError(f"the models are not in {input_folder()}; add the latest version of {settings['dataset']}")
    competition, pack = open_without_features(settings["competition"]), read_pack(paths[0], Path("models"))
    dataset, workers = competition.dataset, LocalWorkers()
    if dataset.images.shape[1:] != pack.shape or dataset.classes.tolist() != pack.classes.tolist():
        raise UserError(f"the models were trained on images of {pack.shape} or on other classes; train them again")
    inputs: dict[Inputs, np.ndarray] = {"images": dataset.test_images, "columns": dataset.test_columns}
    if "columns" in pack.blend.inputs and tuple(map(str, dataset.column_names)) != pack.columns:
        raise UserError(f"the models were trained on the columns {shorten_list(pack.columns, 5)}; train them again")
    if pack.extractor:
        extraction = Extraction(pack.extractor, competition.folder, competition.config)
        inputs["features"] = extract_test_features(extraction, dataset, workers)
    _, submitted = predict_combination(pack.blend, pack.load_model, inputs, workers)
    write_submission(submitted, dataset, competition.sample(competition.metric()), SUBMISSIONS / SUBMISSION)
    print(f"{len(dataset.test_ids):,} test rows predicted by {', '.join(m.name for m in pack.blend.positions)}")


def _copy_earlier_folds(competition: str, digest: str) -> None:
    """Copy the finished folds of attached earlier sessions that were trained on the same data."""
    from competition.crossval.folds import ALL_ROWS
    from competition.data.mounts import find_inputs

    for split in find_inputs(f"{FOLDS}/{competition}/*/split.csv"):
        with split.open() as file:
            is_same_data = file.readline().split()[-1:] == [digest]
        if is_same_data:
            print(f"continuing from {split.parent}", flush=True)
            for folder in (split.parent, split.parent.parent / ALL_ROWS):
                _copy_missing(folder, FOLDS / competition / folder.name)


def _copy_missing(source: Path, target: Path) -> None:
    """Copy the files that are not there yet; a file of predictions marks a finished fold, so it comes last."""
    from competition.files import write_atomically

    files = [path for path in source.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in sorted(files, key=lambda path: path.suffix == ".npz"):
        copy = target / path.relative_to(source)
        if not copy.exists():
            write_atomically(copy, path.read_bytes())
