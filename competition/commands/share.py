"""Predictions from elsewhere, and ours for others."""

import argparse

from competition.problem import Problem
from competition.session import FOLDS, member_of, open_store


def take_in(options: argparse.Namespace) -> None:
    """Take in out-of-fold and test probabilities from elsewhere as a member, @NAME, once they are checked."""
    from competition import exchange, terminal
    from competition.metrics import accuracy, percent
    from competition.models import Member

    store = open_store(options)
    member = Member.named(f"@{options.name}")
    files = options.oof, options.test, options.split
    store.take_in(member, list(exchange.read(*files, store.dataset, store.folds)))
    score = percent(accuracy(store.dataset.labels, store.predictions(member).oof))
    terminal.console.print(f'{member.name}: {score} out of fold; blend it: make submit MODELS="quick {member.name}"')


def export(options: argparse.Namespace) -> None:
    """Write the first model's out-of-fold and test probabilities as tables, the split included."""
    from competition import exchange

    store = open_store(options)
    member = member_of(options, options.models[0])
    predictions = store.predictions(member)
    if not predictions.complete:
        raise Problem(f"{member.name} is not complete; run `make cv MODELS={member.name}`")
    folder = FOLDS / options.competition / store.folds.name / member.name
    for path in exchange.write(predictions, store.dataset, store.folds, folder):
        print(path)
