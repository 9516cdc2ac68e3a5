"""What becomes of submissions: graded, uploaded, scored, made again."""

import argparse
import tempfile
from pathlib import Path

from competition.cli.session import (
    DATA,
    SUBMISSIONS,
    cross_validated,
    members_of,
    metric_of,
    open_dataset,
    open_split,
    open_submission,
    origin_of,
    sample_of,
    scored_rows,
)
from competition.errors import Problem


def grade(options: argparse.Namespace) -> None:
    """Open the sealed answers of an embedded competition; the opening is put on record."""
    from competition.files import sha256
    from competition.scoring.metrics import named
    from competition.submission import grading
    from competition.submission.log import Ledger
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    ledger = Ledger(SUBMISSIONS)
    entry = None if options.file else ledger.entry(options.competition)
    submission, metric = (entry.file, named(entry.card["metric"])) if entry else (options.file, metric_of(options))
    result = grading.grade(submission, DATA / options.competition, metric)
    ledger.record(options.competition, sha256(submission), metric.name, "sealed", result.score.value)
    console.print(submissions.graded(result))
    console.print(f"{submission}; the answers have been opened {result.openings} times")


def upload(options: argparse.Namespace) -> None:
    """Upload a submission to Kaggle, wait for its score and write it into the ledger."""
    from competition.data import kaggle
    from competition.data.practice import is_embedded
    from competition.files import sha256
    from competition.scoring.metrics import named
    from competition.submission import format as submission
    from competition.submission.log import Ledger
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    ledger = Ledger(SUBMISSIONS)
    entry = ledger.entry(options.competition, options.number)
    if is_embedded(DATA / options.competition):
        raise Problem(f"{options.competition} is embedded here and nothing of Kaggle's; `make grade` scores it")
    dataset = open_dataset(options)
    metric = named(entry.card["metric"])
    submission.check(entry.file, sample_of(options, metric), dataset.classes)
    message = f"submission {entry.number} {sha256(entry.file)[:12]}"
    kaggle.submit(options.competition, entry.file, message)
    print(f"{entry.file} is uploaded; waiting for its score ...", flush=True)
    *_, outcome = kaggle.outcomes(options.competition, message, options.wait)
    if outcome is None or outcome.status == "PENDING":
        later = f"python -m competition score --competition {options.competition} --number {entry.number} --value SCORE"
        raise Problem(f"Kaggle has no score after {options.wait:.0f} s; write it down when it has: {later}")
    if outcome.score is None:
        raise Problem(f"Kaggle refuses {entry.file}: {outcome.reason or outcome.status}")
    ledger.record(options.competition, sha256(entry.file), metric.name, "leaderboard", outcome.score)
    rows = scored_rows(options, dataset)
    console.print(submissions.against_leaderboard(entry, metric, outcome.score, rows))


def score(options: argparse.Namespace) -> None:
    """Write down what Kaggle's leaderboard gave a submission, beside what cross-validation promised."""
    from competition.files import sha256
    from competition.scoring.metrics import named
    from competition.submission.log import Ledger
    from competition.views.terminal import submissions
    from competition.views.terminal.screen import console

    ledger = Ledger(SUBMISSIONS)
    entry = ledger.entry(options.competition, options.number)
    metric, rows = named(entry.card["metric"]), scored_rows(options, open_dataset(options))
    ledger.record(options.competition, sha256(entry.file), metric.name, "leaderboard", options.value)
    console.print(submissions.against_leaderboard(entry, metric, options.value, rows))


def reproduce(options: argparse.Namespace) -> None:
    """Make a submission anew from what its card tells, training what is not there any more; compare the bytes."""
    from dataclasses import replace

    from competition.crossval.run import unfinished
    from competition.ensemble import blend as ensemble
    from competition.files import sha256
    from competition.scoring.metrics import named
    from competition.submission import format as submission
    from competition.submission.log import Ledger
    from competition.views.terminal.screen import console

    entry = Ledger(SUBMISSIONS).entry(options.competition, options.number)
    card = entry.card
    options.models, options.blend = list(card["origin"]["members"]), card["origin"]["blend"]
    options.budget = None
    store, metric = open_split(options, card["origin"]["split"]), named(card["metric"])
    if replace(origin_of(options, store), metric=card["metric"]).digest != card["origin_digest"]:
        remedy = f"go back to it: git checkout {entry.commit}"
        raise Problem(f"{entry.folder} was made from other data, recipes or code; {remedy}")
    options.models = list(card["members"])  # a run that was stopped may have asked for more
    waiting = len(unfinished(store, members_of(options)))
    *_, complete = cross_validated(options, store)
    blend = ensemble.blend(complete, store.dataset.labels, store.folds.held_out, options.blend)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "submission.csv"
        submission.write(blend.test, store.dataset, sample_of(options, metric), again)
        if sha256(again) != card["sha256"]:
            raise Problem(f"{entry.file} comes out otherwise now; were its libraries or its machine others?")
    anew = f"{waiting} folds trained anew" if waiting else "from the predictions that are kept"
    console.print(f"{entry.file} comes out the same, byte for byte, {anew}")


def predict(options: argparse.Namespace) -> None:
    """Label pictures (PNG, JPEG, folders of them) or tables of pixels as a submission's blend does; to the screen."""
    import json
    import sys

    import numpy as np
    import pandas as pd

    from competition.data import pictures
    from competition.deploy import predict as prediction
    from competition.workers.local import LocalWorkers

    entry, store, members = open_submission(options)
    files, images = zip(*pictures.read(options.files, store.dataset.images), strict=True)
    workers = LocalWorkers(options.jobs)
    said = prediction.blended(store, members, entry.card["blender"], np.concatenate(images), workers)
    classes = store.dataset.classes
    rows = pd.DataFrame({"file": np.repeat([str(file) for file in files], [len(each) for each in images])})
    rows["row"] = rows.groupby("file").cumcount() + 1
    rows["label"] = classes[said.argmax(axis=1)]
    rows["probability"] = said.max(axis=1).round(5)
    if options.json:
        found = rows.to_dict("records")
        names = [str(name) for name in classes]
        for row, each in zip(found, said, strict=True):
            row["probabilities"] = dict(zip(names, each.round(5).tolist(), strict=True))
        json.dump(found, sys.stdout, indent=1, default=str)
    else:
        rows.to_csv(sys.stdout, index=False, lineterminator="\n")
