"""From files to a submission."""

import argparse
import os
from contextlib import closing
from typing import TYPE_CHECKING

from competition.cli.session import (
    DATA,
    SUBMISSIONS,
    alarm,
    cross_validated,
    metric_of,
    open_dataset,
    open_store,
    origin_of,
    sample_of,
)
from competition.cli.show import page_of, show

if TYPE_CHECKING:
    from competition.crossval.predictions import Predictions
    from competition.data.dataset import Dataset


def data(options: argparse.Namespace) -> None:
    """Bring the competition's files and check them."""
    _tell(options, open_dataset(options))


def _tell(options: argparse.Namespace, dataset: "Dataset") -> None:
    """What was read, and what was inferred of it."""
    from competition.data import config as rules
    from competition.data import csv_files as cells
    from competition.data.dataset import layout
    from competition.errors import Problem, first
    from competition.submission.format import classes_asked

    folder = DATA / options.competition
    found = layout(folder)
    sides = "x".join(map(str, found.shape))
    print(f"{folder}: {len(dataset.images):,} training and {len(dataset.test_ids):,} test images of {sides}")
    print(f"{len(dataset.classes)} classes in column {found.label}: {first(dataset.classes, 12)}")
    known = {column.lower() for column in (found.id, found.label, found.group, *found.pixels)}
    if idle := [column for column in cells.header(folder / "train.csv") if column.lower() not in known]:
        print(f"left alone: {first(idle, 12)}")
    if found.group:
        print(f"{len(set(dataset.groups)):,} groups in column {found.group}, each held out as a whole")
    metric = metric_of(options)
    metric.require(dataset.classes)
    sample = sample_of(options, metric)
    wanted = cells.text(sample.path)
    form = "labels" if classes_asked(sample, wanted, dataset.classes) is None else "probabilities"
    if form == "labels" and sample.answer is None and metric.of_labels is None and len(dataset.classes) == 2:
        choice = 'answer = "labels" or answer = "probabilities"'
        raise Problem(f"{metric.name} may be of labels or of probabilities; tell {choice} in {folder / rules.FILE}")
    print(f"to be submitted: {form}, in column {first(wanted.columns[1:], 3)}; metric: {metric.name}")
    print(f"if any of this is wrong, correct it in {folder / rules.FILE}", flush=True)


def cv(options: argparse.Namespace) -> None:
    """Train every model on every fold and print the leaderboard."""
    from competition.views.terminal import scores
    from competition.views.terminal.screen import console

    store, metric = open_store(options), metric_of(options)
    _tell(options, store.dataset)
    complete: list[Predictions] = []
    try:
        with alarm(options.budget), closing(cross_validated(options, store)) as found:
            for members in found:
                complete = members
    finally:
        console.print(scores.leaderboard(complete, store.dataset.labels, metric))


def submit(options: argparse.Namespace) -> None:
    """Cross-validate, blend and write submission.csv, anew with each model that becomes complete."""
    from competition.ensemble import advice
    from competition.ensemble import blend as ensemble
    from competition.ensemble.blenders import BLENDERS
    from competition.submission import format as submission
    from competition.submission.log import Ledger
    from competition.views.terminal import scores, submissions
    from competition.views.terminal.screen import console

    ensemble.require(options.blend)  # before anything is trained
    store, metric = open_store(options), metric_of(options)
    _tell(options, store.dataset)
    labels, held_out = store.dataset.labels, store.folds.held_out
    ledger, origin = Ledger(SUBMISSIONS), origin_of(options, store)
    entry = ledger.opened(origin)
    complete: list[Predictions] = []
    done: tuple[ensemble.Blending, ensemble.Blend] | None = None
    try:
        with alarm(options.budget), closing(cross_validated(options, store)) as found:
            for complete in found:
                blending = ensemble.Blending(complete, labels, held_out)
                blend = blending.blend(options.blend)
                for target in (entry.file, SUBMISSIONS / "submission.csv"):
                    submission.write(blend.test, store.dataset, sample_of(options, metric), target)
                score = metric.score(labels, blend.oof)
                ledger.keep(entry, origin, blend, metric, score)
                done = blending, blend
                names, told = ", ".join(blend.members), scores.scored(metric, score)
                console.print(f"{target} now blends {names} ({blend.blender}): {told} out of fold")
    finally:
        console.print(scores.leaderboard(complete, labels, metric))
        if done:
            console.print(submissions.kept(entry))
    if not done:
        return
    blending, blend = done
    helps = advice.helps(blending.members, blend, labels, held_out)
    if helps:
        others = [blending.blend(name) for name in BLENDERS]
        console.print(scores.blends(blend, others, labels, metric))
        console.print(scores.advice(helps))
    console.print(submissions.next_step(DATA / options.competition))
    page, made = page_of(options, store), (entry.folder / "card.json").stat().st_mtime_ns
    # The page bears its card's time: which of two is the later a clock that was set back cannot tell.
    if not page.exists() or page.stat().st_mtime_ns != made:
        show(options, store, blending.members, blend, helps)
        os.utime(page, ns=(made, made))
