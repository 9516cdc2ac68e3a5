"""Commands from the data files to a submission."""

import hashlib
import os
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from competition.cli.refits import blend_members, check_refits, leave_time_for_refits, train_refits
from competition.cli.run import (
    DATA,
    SUBMISSIONS,
    Competition,
    Run,
    RunOptions,
    is_practice_competition,
    open_competition,
    open_run,
)
from competition.cli.train import LIMIT_REACHED, cross_validate_run, fit_to_budget, time_limit
from competition.cli.views import report_line, report_path, write_report
from competition.errors import UserError, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.table import Table

    from competition.crossval.predictions import Predictions
    from competition.data.dataset import Dataset
    from competition.ensemble.advice import Contribution
    from competition.ensemble.blend import Blend, BlendSearch
    from competition.scoring.metrics import Metric
    from competition.submission.log import Entry

REFIT_LIMIT_REACHED = (
    "cross-validation has used its part of the time limit; the rest is for training the complete models on all rows. "
    "Finished work is kept, run the same command again to continue"
)


def data(competition: str) -> None:
    """Download or create the files of the competition, and check them."""
    opened = open_competition(competition)
    print_data_summary(opened, opened.metric())


def print_data_summary(competition: Competition, metric: "Metric") -> None:
    """Print what was read and what was inferred, to be corrected in competition.toml."""
    from competition.data.config import CONFIG_FILE
    from competition.errors import shorten_list

    folder, dataset, layout = competition.folder, competition.dataset, competition.dataset.layout
    print(f"{folder}: {dataset.summary}")
    print(_describe_target(dataset, layout.source))
    if layout.group:
        print(f"{len(set(dataset.groups)):,} groups in column {layout.group}; no group is split between folds")
    print(*layout.notes, sep="\n", end="\n" if layout.notes else "")
    if layout.sample:
        content, columns = submission_format(competition, metric)
        plural = "s" * (len(columns) != 1)
        print(f"submission: {content} in column{plural} {shorten_list(columns, 3)}; metric: {metric.name}")
    else:
        print(f"no sample submission and no test images, so models can only be cross-validated; metric: {metric.name}")
    if competition.label_metric(metric):
        print(f"labels: those with the highest expected {metric.name}, if better than the most probable ones")
    print(f"if any of this is wrong, correct it in {folder / CONFIG_FILE}", flush=True)


def _describe_target(dataset: "Dataset", source: str) -> str:
    """What is predicted, and which labels are too rare for classical models."""
    from competition.data.targets import target_kind
    from competition.errors import shorten_list
    from competition.models.interface import MIN_CLASS_ROWS

    names = shorten_list(dataset.classes, 12)
    match target_kind(dataset.labels):
        case "class":
            return f"{len(dataset.classes)} classes in {source}: {names}"
        case "number":
            return f"a number in {source}, {dataset.labels.min():g} to {dataset.labels.max():g}"
        case "labels":
            rows = dataset.labels.sum(axis=0)
            rare = dataset.classes[rows < MIN_CLASS_ROWS]
            warning = f"\nlabels with fewer than {MIN_CLASS_ROWS} images: {shorten_list(rare, 12)}" if len(rare) else ""
            return f"{len(dataset.classes)} labels in {source}, of which several may apply: {names}{warning}"


def submission_format(competition: Competition, metric: "Metric") -> tuple[str, list[str]]:
    """Whether labels or probabilities are submitted, and the columns that hold them."""
    from competition.data.config import CONFIG_FILE
    from competition.submission.format import read_format

    classes, sample = competition.dataset.classes, competition.sample(metric)
    format = read_format(sample, classes)
    is_ambiguous = competition.kind == "class" and len(classes) == 2 and sample.content is None
    if format.content == "labels" and is_ambiguous and metric.scores_labels is None:
        raise UserError(
            f"{metric.name} may be computed from labels or from probabilities; "
            f'set submission = "labels" or submission = "probabilities" in {competition.folder / CONFIG_FILE}'
        )
    content = f"the {format.length} most probable classes" if format.content == "ranked" else format.content
    return content, format.columns


def cv(options: RunOptions) -> None:
    """Train every model on every fold, and print the table of scores."""
    from competition.views.terminal.screen import console

    run = open_run(options)
    print_data_summary(run.competition, run.metric)
    if run.budget and not options.models:
        run = fit_to_budget(run)
    complete: list[Predictions] = []
    try:
        with time_limit(run.budget), closing(cross_validate_run(run)) as stages:
            for predictions in stages:
                complete = predictions
    finally:
        console.print(_score_table(run, complete))
    if len(complete) > 1 and not run.dataset.layout.sample:
        console.print(_blend_table(run, *blend_members(run, complete)))


def _score_table(run: Run, complete: "Sequence[Predictions]") -> "Table":
    """The table of scores of the complete members."""
    from competition.ensemble.blend import choose_labels_of_members
    from competition.views.terminal import scores

    labels, held_out = run.dataset.labels, run.store.folds.held_out
    submitted = choose_labels_of_members(complete, labels, held_out, run.groups, run.label_metric)
    return scores.score_table(complete, labels, run.metric, run.groups, run.column_members, submitted)


def _blend_table(run: Run, search: "BlendSearch", chosen: "Blend") -> "Table":
    """The cross-fitted scores of all blenders and the chosen blend."""
    from competition.ensemble.blenders import blender_names
    from competition.views.terminal import scores

    others = [search.blend(name) for name in blender_names(run.competition.kind)]
    is_submitted = bool(run.dataset.layout.sample)
    return scores.blend_table(chosen, others, run.dataset.labels, run.metric, run.groups, is_submitted)


def submit(options: RunOptions) -> None:
    """Cross-validate, blend and write submission.csv; update it whenever another model is complete."""
    from competition.ensemble.blend import check_blender
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import submissions

    hint = submissions.kaggle_hint(options.competition, DATA)
    if hint:
        print(hint, flush=True)
    start, run = time.monotonic(), open_run(options)
    check_blender(options.blend, run.competition.kind)  # before anything is trained
    check_refits(run)
    print_data_summary(run.competition, run.metric)
    if not run.dataset.layout.sample:
        cross_validate = command("cv", competition=options.competition)
        raise UserError(f"{run.competition.folder} has no test images to predict; evaluate models: {cross_validate}")
    run = leave_time_for_refits(run)
    if run.budget and not options.models:
        run = fit_to_budget(run)
    entry = SubmissionLog(SUBMISSIONS).get_or_create_entry(run.spec)
    if summary := _saved_summary(run, entry):
        print("everything is trained, and the submission is up to date", summary, sep="\n", end="", flush=True)
    else:
        _train_and_submit(run, entry, options.budget and start + options.budget)
    if entry.metadata_file.exists():
        print(submissions.next_step(run.competition.folder))
        if is_practice_competition(run.competition.name):
            print(submissions.explain_practice(_submission_files(run, entry)[-1], hint))


def _train_and_submit(run: Run, entry: "Entry", end: float | None) -> None:
    """Train what is missing until this time, updating the submission, and describe the result."""
    from competition.ensemble import advice
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    complete: list[Predictions] = []
    result: tuple[BlendSearch, Blend] | None = None
    failure: UserError | None = None
    limit_reached = REFIT_LIMIT_REACHED if run.refit else LIMIT_REACHED
    try:
        with time_limit(run.budget, limit_reached), closing(cross_validate_run(run)) as stages:
            for complete in stages:
                result = blend_members(run, complete)
                if not _was_predicted_by_refits(entry, result[1]):
                    _save_submission(run, entry, result[1])
        if result and not (entry.metadata_file.exists() and entry.is_intact):  # the limit was reached while saving
            _save_submission(run, entry, result[1])
        if result and run.refit and not result[1].refits:
            try:
                result = result[0], _refit(run, entry, result[1], end)
            except UserError as error:  # the submission of the folds is complete, so it is described first
                failure = error
    finally:
        shown: list[Table | str] = [_score_table(run, complete)]
        if result and entry.metadata_file.exists():
            shown.append(submissions.describe_entry(entry))
        console.print(*shown, sep="\n")
    if result:
        search, blended = result
        contributions = advice.measure_contributions(search, blended)
        explanation = _explain_submission(run, search, blended, contributions)
        console.print(*explanation, sep="\n")
        if not _has_current_report(run, entry):
            made = entry.metadata_file.stat().st_mtime_ns
            os.utime(write_report(run, search.members, blended, contributions), ns=(made, made))
        announcement = report_line(report_path(run))
        if not failure:
            _save_summary(entry, [*shown, *explanation, announcement])
        print(announcement)
    if failure:
        raise failure


def _refit(run: Run, entry: "Entry", blended: "Blend", end: float | None) -> "Blend":
    """Train the members of the blend on all rows until this time, and save the submission that they predict."""
    left = end and end - time.monotonic()
    if left is None or left > 0:
        with time_limit(left):
            blended = train_refits(replace(run, budget=left), blended)
    if blended.refits:
        _save_submission(run, entry, blended)
    else:
        print("training on all rows is not finished; run the same command again to continue", flush=True)
    return blended


def _was_predicted_by_refits(entry: "Entry", blended: "Blend") -> bool:
    """Whether the submission has the same members, trained on all rows, of which some are missing now."""
    if blended.refits or not entry.metadata_file.exists():
        return False
    return entry.metadata.get("refits", 0) > 0 and set(entry.metadata["members"]) == set(blended.members)


def _save_submission(run: Run, entry: "Entry", blended: "Blend") -> None:
    """Write the blend's files, metadata and row of the log, and print its score."""
    from competition.submission.format import write_submission
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import scores
    from competition.views.terminal.screen import console

    log, files, sample = SubmissionLog(SUBMISSIONS), _submission_files(run, entry), run.competition.sample(run.metric)
    for file in files:
        write_submission(blended.submitted_test, run.dataset, sample, file)
    score = run.metric.score(run.dataset.labels, blended.submitted_oof, run.groups)
    log.save(entry, run.spec, blended, run.metric, score)
    names, text = ", ".join(blended.members), scores.format_metric(run.metric, score)
    trained = ", trained on all rows" if blended.refits else ""
    console.print(f"{files[-1]} now blends {names} ({blended.blender}){trained}: {text} out of fold")


def _submission_files(run: Run, entry: "Entry") -> "list[Path]":
    """The file of the entry, and submission.csv unless practice would replace a submission for Kaggle."""
    from competition.submission.log import SubmissionLog

    log = SubmissionLog(SUBMISSIONS)
    current = log.current_competition()
    keeps_current = (
        current is not None and is_practice_competition(run.competition.name) and not is_practice_competition(current)
    )
    return [entry.file] if keeps_current else [entry.file, log.current_file]


def _explain_submission(
    run: Run, search: "BlendSearch", blended: "Blend", contributions: "Sequence[Contribution]"
) -> "list[Table | str]":
    """How blenders and members compare; nothing if there is only one member."""
    from competition.scoring.losses import loss_name
    from competition.views.terminal import scores

    if not contributions:
        return []
    return [_blend_table(run, search, blended), scores.contribution_table(contributions, loss_name(search.labels))]


def _has_current_report(run: Run, entry: "Entry") -> bool:
    """Whether the report is that of this submission.

    It gets the time stamp of the metadata: an order of times could not be relied on after the clock was set back.
    """
    page = report_path(run)
    return page.exists() and page.stat().st_mtime_ns == entry.metadata_file.stat().st_mtime_ns


def _saved_summary(run: Run, entry: "Entry") -> str | None:
    """What an earlier run of the same command printed at its end; None if anything is missing or has changed since."""
    from competition.crossval.run import pending_tasks
    from competition.files import sha256

    if not (entry.metadata_file.exists() and entry.summary_file.exists() and entry.is_intact):
        return None
    stamp, _, text = entry.summary_file.read_bytes().partition(b"\n")
    submission, weights = _submission_files(run, entry)[-1], entry.metadata["members"]
    weighted = [member for member in run.members if weights.get(member.name)]
    is_current = (
        stamp == _summary_stamp(entry, text)
        and set(weights) == {member.name for member in run.members}
        and entry.metadata.get("refits", 0) == run.refit
        and _has_current_report(run, entry)
        and submission.exists()
        and sha256(submission) == entry.metadata["sha256"]
        and not pending_tasks(run.store, run.members)
        and not (run.refit and pending_tasks(run.store.refits(run.refit), weighted))
    )
    return text.decode() if is_current else None


def _save_summary(entry: "Entry", shown: "Sequence[Table | str]") -> None:
    """Keep what is printed at the end next to the submission."""
    from io import StringIO

    from rich.console import Console

    from competition.files import write_atomically
    from competition.views.terminal.screen import LOG_WIDTH

    output = StringIO()
    Console(file=output, width=LOG_WIDTH, markup=False, highlight=False, soft_wrap=True).print(*shown, sep="\n")
    text = output.getvalue().encode()
    write_atomically(entry.summary_file, _summary_stamp(entry, text) + b"\n" + text)


def _summary_stamp(entry: "Entry", text: bytes) -> bytes:
    """A checksum of a summary, of the metadata that it describes and of the code that wrote it."""
    from competition.models.source import package_digest

    content = package_digest().encode() + entry.metadata_file.read_bytes() + text
    return hashlib.sha256(content).hexdigest().encode()
