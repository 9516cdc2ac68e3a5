"""Commands that grade, score, reproduce and reuse submissions."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from competition.cli.refits import pending_refits, train_refits
from competition.cli.run import (
    DATA,
    SUBMISSIONS,
    RunOptions,
    find_config_metric,
    load_submission,
    open_competition,
    open_extractor,
    open_run,
    parse_split,
)
from competition.cli.train import cross_validate_run
from competition.cli.upload import reject_practice
from competition.errors import UserError

if TYPE_CHECKING:
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

    from competition.cli.run import LoadedSubmission
    from competition.models.interface import Inputs


def grade(competition: str, file: Path | None) -> None:
    """Evaluate a submission on the held-back test labels of a practice competition; evaluations are counted."""
    from competition.data.config import read_config
    from competition.files import sha256
    from competition.scoring.metrics import find_metric
    from competition.submission import grading
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    log, folder = SubmissionLog(SUBMISSIONS), DATA / competition
    config = read_config(folder)
    if file:
        metric = find_config_metric(folder, config.metric)
    else:
        entry = log.entry(competition)
        entry.require_intact()
        file, metric = entry.file, find_metric(entry.metadata["metric"])
    result = grading.grade(file, folder, metric, config)
    log.record_score(competition, sha256(file), metric.name, "held_back", result.score.value)
    console.print(submissions.grade_table(result))
    console.print(f"{file}; evaluations on the held-back labels so far: {result.evaluations}")


def record_score(competition: str, number: int | None, value: float) -> None:
    """Record a submission's score on Kaggle's leaderboard, and compare it with the cross-validated score."""
    from competition.files import sha256
    from competition.scoring.metrics import find_metric
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    log = SubmissionLog(SUBMISSIONS)
    reject_practice(competition, log)
    entry = log.entry(competition, number)
    entry.require_intact()
    metric, rows = find_metric(entry.metadata["metric"]), open_competition(competition).scored_rows
    log.record_score(competition, sha256(entry.file), metric.name, "leaderboard", value)
    console.print(submissions.compare_with_leaderboard(entry, metric, value, rows))


def reproduce(competition: str, number: int | None, jobs: int | None, cluster: str | None) -> None:
    """Make a submission again from its metadata, train folds that are missing, and compare the bytes."""
    from competition.crossval.run import pending_tasks
    from competition.ensemble import blend as ensemble
    from competition.files import scratch_folder, sha256
    from competition.scoring.metrics import find_metric
    from competition.submission.format import write_submission
    from competition.submission.log import SubmissionLog
    from competition.views.terminal.screen import console

    entry = SubmissionLog(SUBMISSIONS).entry(competition, number)
    entry.require_intact()
    metadata, spec = entry.metadata, entry.metadata["run"]
    options = RunOptions(
        competition,
        list(spec["members"]),
        *parse_split(spec["split"]),
        jobs,
        cluster=cluster,
        blend=spec["blend"],
        refit=spec.get("refit", 0),
    )
    run = replace(open_run(options), metric=find_metric(metadata["metric"]))
    if run.spec.digest != metadata["run_digest"]:
        remedy = f"restore the data, or {entry.restore_remedy}"
        raise UserError(f"{entry.folder}: data, recipes or code have changed since; {remedy}")
    members = {member.name: member for member in run.members}
    run = replace(run, members=tuple(members[name] for name in metadata["members"]))  # the complete ones
    missing = len(pending_tasks(run.store, run.members))
    *_, complete = cross_validate_run(run)
    blend = ensemble.blend(
        complete, run.dataset.labels, run.store.folds.held_out, run.blend, run.groups, run.label_metric
    )
    if metadata.get("refits"):
        missing += len(pending_refits(run, blend))
        blend = train_refits(run, blend)
    with scratch_folder() as folder:
        file = folder / "submission.csv"
        write_submission(blend.submitted_test, run.dataset, run.competition.sample(run.metric), file)
        if sha256(file) != metadata["sha256"]:
            reason = "its bytes differ; results are bit-identical only on the same CPU type"
            raise UserError(f"{entry.file} was not reproduced: {reason}")
    source = f"after training {missing} model{'s' * (missing != 1)}" if missing else "from the stored predictions"
    console.print(f"{entry.file} is reproduced byte for byte, {source}")


def predict(files: list[Path], competition: str, number: int | None, jobs: int | None, json: bool) -> None:
    """Predict images, folders of them, or CSV files of pixels with a submission's blend; print CSV."""
    from competition.deploy.network_process import open_network_process

    with open_network_process(jobs) as network_process:  # before the other imports, which take a second
        _predict(files, load_submission(competition, number), jobs, json, network_process)


def _predict(
    files: list[Path],
    submission: "LoadedSubmission",
    jobs: int | None,
    json: bool,
    network_process: "ProcessPoolExecutor | None",
) -> None:
    from json import dump

    import numpy as np
    import pandas as pd

    from competition.data.images import read_images
    from competition.data.pictures import read_squares
    from competition.data.targets import target_kind
    from competition.deploy.predict import predict_blend
    from competition.scoring.multilabel import has_empty_sets, select_labels
    from competition.workers.local import LocalWorkers

    store, members = submission.store, submission.members
    paths, images = zip(*read_images(files, store.dataset.images), strict=True)
    inputs: dict[Inputs, np.ndarray] = {"images": np.concatenate(images)}
    if extractor := open_extractor(store, members):
        squares = read_squares(files, store.dataset.images.shape[1:], extractor.size)
        inputs["features"] = extractor.extract(squares)
    predictions, submitted = predict_blend(
        store, members, submission.blender, inputs, LocalWorkers(jobs), network_process, submission.label_metric
    )
    names, kind = store.dataset.classes.astype(str), target_kind(store.dataset.labels)
    table = pd.DataFrame({"file": np.repeat([str(path) for path in paths], [len(each) for each in images])})
    table["row"] = table.groupby("file").cumcount() + 1
    if kind == "number":
        table[names[0]] = predictions[:, 0]
    elif kind == "labels":
        selected = select_labels(submitted, has_empty_sets(store.dataset.labels))
        table["labels"] = [" ".join(names[row]) for row in selected]
    else:
        labels = submitted.argmax(axis=1)
        table["label"] = store.dataset.classes[labels]
        table["probability"] = predictions[np.arange(len(labels)), labels].round(5)
    if not json:
        if kind == "labels":
            table[list(names)] = predictions.round(5)
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    records = table.to_dict("records")
    if kind != "number":
        for record, row in zip(records, predictions, strict=True):
            record["probabilities"] = dict(zip(names.tolist(), row.round(5).tolist(), strict=True))
    dump(records, sys.stdout, indent=1, default=str)
