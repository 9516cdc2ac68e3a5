"""Commands that grade, upload, score, reproduce and reuse submissions."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from competition.cli.run import (
    DATA,
    SUBMISSIONS,
    RunOptions,
    find_config_metric,
    is_practice_competition,
    load_submission,
    open_competition,
    open_run,
    parse_split,
)
from competition.cli.training import cross_validate_run
from competition.errors import UserError, command, flag

if TYPE_CHECKING:
    from competition.submission.log import SubmissionLog


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
        metric = find_config_metric(folder, config)
    else:
        entry = log.entry(competition)
        file, metric = entry.file, find_metric(entry.metadata["metric"])
    result = grading.grade(file, folder, metric, config)
    log.record_score(competition, sha256(file), metric.name, "held_back", result.score.value)
    console.print(submissions.grade_table(result))
    console.print(f"{file}; evaluations on the held-back labels so far: {result.evaluations}")


def upload(competition: str, number: int | None, wait: float, is_confirmed: bool) -> None:
    """Upload a submission to Kaggle, unless it is there already; wait for its score and record it in the log."""
    from competition.data import kaggle
    from competition.files import sha256
    from competition.scoring.metrics import find_metric
    from competition.submission.format import read_submission
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    log = SubmissionLog(SUBMISSIONS)
    _reject_practice(competition, log)
    entry = log.entry(competition, number)
    opened, metric, digest = open_competition(competition), find_metric(entry.metadata["metric"]), sha256(entry.file)
    score = log.recorded_score(competition, digest, metric.name, "leaderboard")
    if score is not None:
        print(f"{entry.file} already has a score and is not uploaded again")
        console.print(submissions.compare_with_leaderboard(entry, metric, score, opened.scored_rows))
        return
    short_digest = digest[:12]  # in the submission's message, by which Kaggle's copy is found
    listed = kaggle.fetch_result(competition, short_digest)
    rejected = listed if listed and listed.status == "ERROR" else None
    if listed and not rejected:
        print(f"{entry.file} is on Kaggle already and is not uploaded again", flush=True)
    else:
        read_submission(entry.file, opened.sample(metric), opened.dataset.classes)
        if not (is_confirmed or _confirm_upload(competition, entry.number)):
            print("not uploaded")
            return
        kaggle.submit(competition, entry.file, f"submission {entry.number} {short_digest}")
        print(f"{entry.file} is uploaded; waiting for its score ...", flush=True)
    *_, result = kaggle.poll_result(competition, short_digest, wait, rejected)
    if result is None or result.status == "PENDING":
        again = command("upload", number=entry.number, competition=competition)
        print(f"no score from Kaggle after {wait:.0f} s; wait again, without another upload: {again}")
        return
    if result.status == "ERROR":
        reason = result.reason or "no reason is given"
        raise UserError(f"Kaggle rejected {entry.file}: {reason}; see the competition's My Submissions page")
    if result.score is None:
        print(f"Kaggle has accepted {entry.file}, but shows no public score")
        return
    log.record_score(competition, digest, metric.name, "leaderboard", result.score)
    console.print(submissions.compare_with_leaderboard(entry, metric, result.score, opened.scored_rows))


def _reject_practice(competition: str, log: "SubmissionLog") -> None:
    """Raise a UserError if the competition is a practice one, which is not on Kaggle."""
    if not is_practice_competition(competition):
        return
    remedy = f"score it with `{command('grade', competition=competition)}`"
    current = log.current_competition()
    if current and not is_practice_competition(current):
        remedy += f"; {log.current_file} is for {current}: `{command('upload', competition=current)}`"
    raise UserError(f"{competition} is a practice competition, which is not on Kaggle; {remedy}")


def _confirm_upload(competition: str, number: int) -> bool:
    """Ask on the terminal whether to spend one of the day's submissions."""
    if not sys.stdin.isatty():
        again = f"{command('upload', number=number, competition=competition)} {flag('yes')}"
        raise UserError(f"an upload uses one of today's submissions, and there is no terminal to ask on; run: {again}")
    question = f"Upload submission {number} to {competition}? This uses one of today's submissions. [y/N] "
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def record_score(competition: str, number: int | None, value: float) -> None:
    """Record a submission's score on Kaggle's leaderboard, and compare it with the cross-validated score."""
    from competition.files import sha256
    from competition.scoring.metrics import find_metric
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    log = SubmissionLog(SUBMISSIONS)
    entry = log.entry(competition, number)
    metric, rows = find_metric(entry.metadata["metric"]), open_competition(competition).scored_rows
    log.record_score(competition, sha256(entry.file), metric.name, "leaderboard", value)
    console.print(submissions.compare_with_leaderboard(entry, metric, value, rows))


def reproduce(competition: str, number: int | None, jobs: int | None, cluster: str | None) -> None:
    """Make a submission again from its metadata, train folds that are missing, and compare the bytes."""
    from competition.crossval.run import pending_tasks
    from competition.ensemble import blend as ensemble
    from competition.files import sha256
    from competition.scoring.metrics import find_metric
    from competition.submission.format import write_submission
    from competition.submission.log import SubmissionLog
    from competition.views.terminal.screen import console

    entry = SubmissionLog(SUBMISSIONS).entry(competition, number)
    metadata, spec = entry.metadata, entry.metadata["run"]
    options = RunOptions(
        competition, list(spec["members"]), *parse_split(spec["split"]), jobs, cluster=cluster, blend=spec["blend"]
    )
    run = replace(open_run(options), metric=find_metric(metadata["metric"]))
    if run.spec.digest != metadata["run_digest"]:
        remedy = f"restore the data, or {entry.restore_remedy}"
        raise UserError(f"{entry.folder}: data, recipes or code have changed since; {remedy}")
    members = {member.name: member for member in run.members}
    run = replace(run, members=tuple(members[name] for name in metadata["members"]))  # the complete ones
    missing = len(pending_tasks(run.store, run.members))
    *_, complete = cross_validate_run(run)
    blend = ensemble.blend(complete, run.dataset.labels, run.store.folds.held_out, run.blend)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "submission.csv"
        write_submission(blend.test, run.dataset, run.competition.sample(run.metric), file)
        if sha256(file) != metadata["sha256"]:
            reason = "its bytes differ; results are bit-identical only on the same CPU type"
            raise UserError(f"{entry.file} was not reproduced: {reason}")
    source = f"after training {missing} folds" if missing else "from the stored predictions"
    console.print(f"{entry.file} is reproduced byte for byte, {source}")


def predict(files: list[Path], competition: str, number: int | None, jobs: int | None, json: bool) -> None:
    """Predict images (PNG, JPEG, folders of them) or CSV files of pixels with a submission's blend; print CSV."""
    from json import dump

    import numpy as np
    import pandas as pd

    from competition.data.images import read_images
    from competition.deploy.predict import predict_blend
    from competition.workers.local import LocalWorkers

    entry, store, members = load_submission(competition, number)
    paths, images = zip(*read_images(files, store.dataset.images), strict=True)
    stack = np.concatenate(images)
    probabilities = predict_blend(store, members, entry.metadata["blender"], stack, LocalWorkers(jobs))
    classes = store.dataset.classes
    table = pd.DataFrame({"file": np.repeat([str(path) for path in paths], [len(each) for each in images])})
    table["row"] = table.groupby("file").cumcount() + 1
    table["label"] = classes[probabilities.argmax(axis=1)]
    table["probability"] = probabilities.max(axis=1).round(5)
    if not json:
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    records, names = table.to_dict("records"), [str(name) for name in classes]
    for record, row in zip(records, probabilities, strict=True):
        record["probabilities"] = dict(zip(names, row.round(5).tolist(), strict=True))
    dump(records, sys.stdout, indent=1, default=str)
