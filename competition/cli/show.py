"""Pages to look at."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from competition.cli.session import FOLDS, SUBMISSIONS, member_of, members_of, metric_of, open_store, open_submission
from competition.errors import Problem

if TYPE_CHECKING:
    from competition.crossval.predictions import Predictions
    from competition.crossval.store import Store
    from competition.ensemble.advice import Help
    from competition.ensemble.blend import Blend

EXAMPLES = 12  # test images on the page


def report(options: argparse.Namespace) -> None:
    """Write a page of what cross-validation found: scores, the hardest rows, who votes how."""
    from competition.ensemble import advice
    from competition.ensemble import blend as ensemble

    store = open_store(options)
    complete = [found for found in map(store.predictions, members_of(options)) if found.complete]
    if not complete:
        asked = " ".join(options.models)
        raise Problem(f'none of {asked} is complete; run `make cv MODELS="{asked}"`')
    rows = store.dataset.labels, store.folds.held_out
    blend = ensemble.blend(complete, *rows, options.blend)
    show(options, store, complete, blend, advice.helps(complete, blend, *rows))


def page_of(options: argparse.Namespace, store: "Store") -> Path:
    """Where the split's page lies."""
    return FOLDS / options.competition / store.folds.name / "report.html"


def show(
    options: argparse.Namespace,
    store: "Store",
    complete: "Sequence[Predictions]",
    blend: "Blend",
    helps: "Sequence[Help]",
) -> None:
    """Write the page of a blend."""
    from competition.models.hyperparameters import readable
    from competition.submission.log import Ledger
    from competition.views.report import page

    submissions = Ledger(SUBMISSIONS).of(options.competition)
    settings = {name: readable(member_of(options, name).recipe) for name in blend.members if not name.startswith("@")}
    metric = metric_of(options)
    path = page.write(page_of(options, store), store, complete, blend, metric, helps, submissions, settings)
    print(f"{path} shows it: open it in a browser")


def tensorboard(options: argparse.Namespace) -> None:
    """Open TensorBoard on how networks were trained and are being trained, at the address that it tells."""
    import subprocess

    try:
        import tensorboardX  # noqa: F401
    except ModuleNotFoundError:
        remedy = "run `make tensorboard`, or: pip install -r requirements-tensorboard.txt"
        raise Problem(f"TensorBoard is not installed; {remedy}") from None
    from competition.crossval.tensorboard import folder_of, write_kept
    from competition.workers.machine import FRUGAL

    store = open_store(options)
    print(f"{write_kept(store)} folds have logs in {folder_of(store)}", flush=True)
    # In a session of its own, so that Ctrl-C is ours and it need not tell of it.
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder_of(store)), "--port", str(options.port)]
    subprocess.run(command, check=False, start_new_session=True, env=os.environ | FRUGAL)


def demo(options: argparse.Namespace) -> None:
    """Serve a page to draw on, on this machine alone; a submission's members answer while one draws."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise Problem("the page needs FastAPI; run `make demo`, or: pip install -r requirements-demo.txt") from None
    from competition.views.demo.judge import Judge
    from competition.views.demo.server import application
    from competition.views.html import picture
    from competition.workers.machine import FRUGAL

    os.environ.update(FRUGAL)
    entry, store, members = open_submission(options)
    print(f"loading {', '.join(member.name for member in members)} of submission {entry.number} ...", flush=True)
    judge = Judge(store, members, entry.card["blender"])
    examples = [picture(image) for image in store.dataset.test_images[:EXAMPLES]]
    app = application(judge, examples, f"{options.competition}: draw, and {len(judge.models)} models answer")
    print(f"open http://127.0.0.1:{options.port}/ in a browser; Ctrl-C ends it", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")
