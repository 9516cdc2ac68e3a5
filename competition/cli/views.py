"""Commands that show results in a browser."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from competition.cli.refits import blend_members
from competition.cli.run import (
    SUBMISSIONS,
    Run,
    RunOptions,
    is_practice_competition,
    load_submission,
    open_competition,
    open_extractor,
    open_run,
    open_store,
)
from competition.cli.servers import wait_for_server
from competition.errors import UserError, missing_extra

if TYPE_CHECKING:
    from fastapi import FastAPI

    from competition.crossval.predictions import Predictions
    from competition.ensemble.advice import Contribution
    from competition.ensemble.blend import Blend

EXAMPLES = 12  # test images on the demo page


def report(options: RunOptions) -> None:
    """Write an HTML report: scores, learning curves, confusion matrix, hardest rows."""
    from competition.ensemble import advice

    run = open_run(options)
    complete = [predictions for predictions in map(run.store.predictions, run.members) if predictions.complete]
    if not complete:
        names = " ".join(member.name for member in run.members)
        raise UserError(f"none of {names} is complete; run `{run.store.command('cv', models=names)}`")
    search, blended = blend_members(run, complete)
    contributions = advice.measure_contributions(search, blended)
    print(report_line(write_report(run, complete, blended, contributions)))


def report_path(run: Run) -> Path:
    """The split's report."""
    return run.competition.folds_folder / run.store.folds.name / "report.html"


def write_report(
    run: Run, complete: "Sequence[Predictions]", blended: "Blend", contributions: "Sequence[Contribution]"
) -> Path:
    """Write the report of a blend; return its path."""
    from competition.models.hyperparameters import describe_recipe
    from competition.submission.log import SubmissionLog
    from competition.views.report.data import ReportData
    from competition.views.report.page import write_report as write_page

    name, members = run.competition.name, {member.name: member for member in run.members}
    log = SubmissionLog(SUBMISSIONS)
    recipes = {each: describe_recipe(members[each].recipe) for each in blended.members if not members[each].is_imported}
    data = ReportData(
        run.store,
        complete,
        blended,
        run.metric,
        contributions,
        log.read_competition(name),
        recipes,
        run.blend,
        run.refit,
        run.competition.scored_rows,
        is_practice_competition(name),
        {str(entry.number): entry.metadata.get("refits", 0) for entry in log.entries(name)},
    )
    return write_page(report_path(run), data)


def report_line(page: Path) -> str:
    """The line that says where the report is."""
    return f"report: {page} (open it in a browser)"


def tensorboard(options: RunOptions, port: int) -> None:
    """Serve TensorBoard for past and current training runs of networks, at the address that it prints."""
    try:
        import tensorboardX  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("TensorBoard", "tensorboard") from None
    from competition.crossval.tensorboard import log_folder, log_saved_curves
    from competition.workers.dependent import start_dependent
    from competition.workers.machine import QUIET_LIBRARIES

    store = open_store(open_competition(options.competition), options.folds, options.seed)
    print(f"{log_saved_curves(store)} folds have logs in {log_folder(store)}", flush=True)
    process = start_dependent(
        *("tensorboard.main", "--logdir", str(log_folder(store).parent), "--port", str(port)),
        start_new_session=True,
        env=os.environ | QUIET_LIBRARIES,
    )
    wait_for_server(process, "TensorBoard")


def demo(competition: str, number: int | None, port: int) -> None:
    """Serve a page on this machine where one draws, and the members of a submission predict the class."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise missing_extra("FastAPI", "demo") from None

    app = open_demo(competition, number)
    print(f"open http://127.0.0.1:{port}/ in a browser; Ctrl-C stops the server", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def open_demo(competition: str, number: int | None) -> "FastAPI":
    """The demo's application, with the models of a submission."""
    from competition.views.demo.predictor import BlendPredictor
    from competition.views.demo.server import create_app
    from competition.views.html import image_data_url
    from competition.workers.machine import QUIET_LIBRARIES

    os.environ.update(QUIET_LIBRARIES)
    submission = load_submission(competition, number)
    submission.competition.require_classes("demo")
    store, members = submission.store, submission.members
    names = ", ".join(member.name for member in members)
    print(f"loading {names} of submission {submission.entry.number} ...", flush=True)
    predictor = BlendPredictor(
        store, members, submission.blender, open_extractor(store, members), submission.label_metric
    )
    examples = [image_data_url(image) for image in store.dataset.test_images[:EXAMPLES]]
    return create_app(predictor, examples, f"{competition}: live predictions of {len(predictor.models)} models")
