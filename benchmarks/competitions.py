"""What is inferred from the layouts of real competitions, on miniatures of them, and how well models learn them."""

import os
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from competition.cli.run import RunOptions, open_competition
from competition.cli.submit import submit
from competition.data.targets import target_kind
from competition.errors import UserError, shorten_list

TESTS = Path(__file__).parent.parent / "tests"
MODELS = ("svm",)
RANKING_MODELS = ("quick:e2",)  # svm needs three images of each class
COLUMN_MODELS = ("logistic",)
TASKS = {"class": "classes", "labels": "labels", "number": "number"}


@dataclass(frozen=True)
class InferredLayout:
    """A competition as it was understood, and the score of a quick run on its miniature."""

    competition: str
    labels: str
    task: str
    groups: str
    not_used: str
    submission: str
    score: str


def infer_layouts(folds: int) -> Iterator[InferredLayout]:
    """Read each miniature from its archive, train quick models and score the submission."""
    sys.path.insert(0, str(TESTS))
    from miniatures import MINIATURES

    for slug, miniature in MINIATURES.items():
        with TemporaryDirectory() as temporary, chdir(temporary), Path(os.devnull).open("w") as quiet:
            folder = Path("data") / slug
            folder.mkdir(parents=True)
            miniature.write(folder)
            try:
                yield _infer_layout(slug, miniature, folds, quiet)
            except UserError as error:
                reason = str(error).removeprefix(f"{folder}").lstrip("/ ").partition(";")[0]
                yield InferredLayout(slug, "refused", "", "", "", reason, "")


def table_row(layout: InferredLayout) -> str:
    """A row of the Markdown table."""
    return f"| {' | '.join(str(cell) for cell in astuple(layout))} |"


def _infer_layout(slug: str, miniature: Any, folds: int, quiet: Any) -> InferredLayout:
    from contextlib import redirect_stderr, redirect_stdout

    from submission_rules import check_submission, score

    from competition.cli.submit import submission_format

    with redirect_stdout(quiet), redirect_stderr(quiet):
        competition = open_competition(slug)
        dataset, layout, metric = competition.dataset, competition.dataset.layout, competition.metric()
        content, columns = submission_format(competition, metric)
        models = [*(RANKING_MODELS if metric.name.startswith("MAP") else MODELS)]
        models += COLUMN_MODELS if len(dataset.column_names) else []
        submit(RunOptions(slug, models, folds=folds))
    value = ""
    if miniature.truth.sample:
        submission = Path("submissions") / "submission.csv"
        check_submission(submission, miniature.truth)
        value = f"{score(submission, miniature.truth):.3f}"
    kind = target_kind(dataset.labels)
    task = TASKS[kind] if kind == "number" else f"{len(dataset.classes)} {TASKS[kind]}"
    leaks = next((note.partition(": ")[2] for note in layout.notes if note.startswith("not used, since test")), "")
    return InferredLayout(
        slug,
        layout.source,
        task,
        layout.group,
        leaks,
        f"{content} in {shorten_list(columns, 2)}",
        f"{metric.name} {value}".strip(),
    )
