"""Pages to look at."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from competition.problem import Problem
from competition.session import FOLDS, SUBMISSIONS, members_of, open_store

if TYPE_CHECKING:
    from competition.advice import Help
    from competition.ensemble import Blend
    from competition.store import Predictions, Store


def report(options: argparse.Namespace) -> None:
    """Write a page of what cross-validation found: scores, the hardest rows, who votes how."""
    from competition import advice, ensemble

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
    from competition import report as page
    from competition.ledger import Ledger

    submissions = Ledger(SUBMISSIONS).of(options.competition)
    path = page.write(page_of(options, store), store, complete, blend, helps, submissions)
    print(f"{path} shows it: open it in a browser")
