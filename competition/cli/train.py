"""Commands from the data files to a submission."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

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
from competition.cli.training import cross_validate_run, fit_to_budget, time_limit
from competition.cli.views import report_path, write_report
from competition.errors import UserError, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from competition.crossval.predictions import Predictions
    from competition.data.dataset import Dataset
    from competition.ensemble.blend import Blend, BlendSearch
    from competition.scoring.metrics import Metric
    from competition.submission.log import Entry, SubmissionLog

MIN_LABEL_ROWS = 3  # images with a label; classical models predict its frequency if there are fewer


def data(competition: str) -> None:
    """Download or create the files of the competition, and check them."""
    opened = open_competition(competition)
    print_data_summary(opened, opened.metric())


def print_data_summary(competition: Competition, metric: "Metric") -> None:
    """Print what was read and what was inferred, to be corrected in competition.toml."""
    from competition.data.config import CONFIG_FILE
    from competition.errors import shorten_list

    folder, dataset, layout = competition.folder, competition.dataset, competition.dataset.layout
    shape = "x".join(map(str, dataset.images.shape[1:]))
    print(f"{folder}: {len(dataset.images):,} training and {len(dataset.test_ids):,} test images of {shape}")
    print(_describe_target(dataset, layout.source))
    if layout.group:
        print(f"{len(set(dataset.groups)):,} groups in column {layout.group}; no group is split between folds")
    print(*layout.notes, sep="\n", end="\n" if layout.notes else "")
    if layout.sample:
        content, columns = submission_format(competition, metric)
        plural = "s" * (len(columns) != 1)
        print(f"submission: {content} in column{plural} {shorten_list(columns, 3)}; metric: {metric.name}")
    else:
        print(f"no sample submission and no test images: models can be cross-validated; metric: {metric.name}")
    print(f"if any of this is wrong, correct it in {folder / CONFIG_FILE}", flush=True)


def _describe_target(dataset: "Dataset", source: str) -> str:
    """What is predicted, and which labels are too rare for classical models."""
    from competition.data.targets import target_kind
    from competition.errors import shorten_list

    names = shorten_list(dataset.classes, 12)
    match target_kind(dataset.labels):
        case "class":
            return f"{len(dataset.classes)} classes in {source}: {names}"
        case "number":
            return f"a number in {source}, {dataset.labels.min():g} to {dataset.labels.max():g}"
        case "labels":
            rows = dataset.labels.sum(axis=0)
            rare = dataset.classes[rows < MIN_LABEL_ROWS]
            warning = f"\nfewer than {MIN_LABEL_ROWS} images have: {shorten_list(rare, 12)}" if len(rare) else ""
            return f"{len(dataset.classes)} labels in {source}, of which several may apply: {names}{warning}"


def submission_format(competition: Competition, metric: "Metric") -> tuple[str, list[str]]:
    """Whether labels or probabilities are submitted, and the columns that hold them."""
    from competition.data.config import CONFIG_FILE
    from competition.data.csv_files import read_text
    from competition.submission.format import detect_format

    classes, sample = competition.dataset.classes, competition.sample(metric)
    table = read_text(sample.path)
    format = detect_format(sample, table, classes)
    is_ambiguous = competition.kind == "class" and len(classes) == 2 and sample.answer is None
    if format.content == "labels" and is_ambiguous and metric.scores_labels is None:
        raise UserError(
            f"{metric.name} may be computed from labels or from probabilities; "
            f'set answer = "labels" or answer = "probabilities" in {competition.folder / CONFIG_FILE}'
        )
    content = f"the {format.length} most probable classes" if format.content == "ranked" else format.content
    return content, format.columns


def cv(options: RunOptions) -> None:
    """Train every model on every fold, and print the leaderboard."""
    from competition.ensemble.blend import BlendSearch
    from competition.views.terminal.screen import console

    run = open_run(options)
    print_data_summary(run.competition, run.metric)
    if run.budget and options.models is None:
        run = fit_to_budget(run)
    complete: list[Predictions] = []
    try:
        with time_limit(run.budget), closing(cross_validate_run(run)) as stages:
            for predictions in stages:
                complete = predictions
    finally:
        console.print(_leaderboard(run, complete))
    if len(complete) > 1 and not run.dataset.layout.sample:
        search = BlendSearch(complete, run.dataset.labels, run.store.folds.held_out, run.groups)
        _print_blends(run, search, search.blend(run.blend))


def _leaderboard(run: Run, complete: "Sequence[Predictions]") -> "Table":
    """The leaderboard of the complete members."""
    from competition.views.terminal import scores

    return scores.leaderboard_table(complete, run.dataset.labels, run.metric, run.groups, run.column_members)


def _print_blends(run: Run, search: "BlendSearch", chosen: "Blend") -> None:
    """Print the cross-fitted scores of all blenders and the chosen blend."""
    from competition.ensemble.blenders import blender_names
    from competition.views.terminal import scores
    from competition.views.terminal.screen import console

    others = [search.blend(name) for name in blender_names(run.competition.kind)]
    console.print(scores.blend_table(chosen, others, run.dataset.labels, run.metric, run.groups))


def submit(options: RunOptions) -> None:
    """Cross-validate, blend and write submission.csv; update it whenever another model is complete."""
    from competition.ensemble.blend import BlendSearch, check_blender
    from competition.submission.log import SubmissionLog
    from competition.views.terminal import scores, submissions
    from competition.views.terminal.screen import console

    kaggle_hint = submissions.hint_at_kaggle(options.competition, DATA)
    if kaggle_hint:
        print(kaggle_hint, flush=True)
    run = open_run(options)
    check_blender(options.blend, run.competition.kind)  # before anything is trained
    print_data_summary(run.competition, run.metric)
    if not run.dataset.layout.sample:
        cross_validate = command("cv", competition=options.competition)
        raise UserError(f"{run.competition.folder} has no test images to predict; evaluate models: {cross_validate}")
    if run.budget and options.models is None:
        run = fit_to_budget(run)
    spec, log = run.spec, SubmissionLog(SUBMISSIONS)
    entry = log.get_or_create_entry(spec)
    complete: list[Predictions] = []
    result: tuple[BlendSearch, Blend] | None = None
    try:
        with time_limit(run.budget), closing(cross_validate_run(run)) as stages:
            for complete in stages:
                search = BlendSearch(complete, run.dataset.labels, run.store.folds.held_out, run.groups)
                blended = search.blend(options.blend)
                file = _write_submission(run, entry, blended, log)
                score = run.metric.score(run.dataset.labels, blended.oof, run.groups)
                log.save(entry, spec, blended, run.metric, score)
                result = search, blended
                names, text = ", ".join(blended.members), scores.format_metric(run.metric, score)
                console.print(f"{file} now blends {names} ({blended.blender}): {text} out of fold")
    finally:
        console.print(_leaderboard(run, complete))
        if result:
            console.print(submissions.describe_entry(entry))
    if result:
        _explain_submission(run, entry, *result)
        if is_practice_competition(run.competition.name):
            print(submissions.explain_practice(file, kaggle_hint))


def _write_submission(run: Run, entry: "Entry", blended: "Blend", log: "SubmissionLog") -> Path:
    """Write the file of the entry, then submission.csv, unless practice would replace a submission for Kaggle."""
    from competition.submission.format import write_submission

    sample, current = run.competition.sample(run.metric), log.current_competition()
    keeps_current = (
        current is not None and is_practice_competition(run.competition.name) and not is_practice_competition(current)
    )
    files = [entry.file] if keeps_current else [entry.file, log.current_file]
    for file in files:
        write_submission(blended.test, run.dataset, sample, file)
    return files[-1]


def _explain_submission(run: Run, entry: "Entry", search: "BlendSearch", blended: "Blend") -> None:
    """Print how blenders and members compare and what to do next; write the report."""
    from competition.ensemble import advice
    from competition.scoring.losses import loss_name
    from competition.views.terminal import scores, submissions
    from competition.views.terminal.screen import console

    labels = run.dataset.labels
    contributions = advice.measure_contributions(search, blended)
    if contributions:
        _print_blends(run, search, blended)
        console.print(scores.contribution_table(contributions, loss_name(labels)))
    console.print(submissions.next_step(run.competition.folder))
    page, made = report_path(run), entry.metadata_file.stat().st_mtime_ns
    # The report gets the metadata's time stamp, and is current if the two are equal: an order of times could not be
    # relied on after the clock was set back.
    if not page.exists() or page.stat().st_mtime_ns != made:
        write_report(run, search.members, blended, contributions)
        os.utime(page, ns=(made, made))
