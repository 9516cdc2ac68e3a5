"""What a user may want to know of models and machine."""

import argparse

from competition.cli.session import FOLDS, member_of, members_of, open_dataset, open_store
from competition.errors import Problem


def safety(options: argparse.Namespace) -> None:
    """Show to the first model, on rows that it was not trained on, which changes of images change their class."""
    from competition.checks import augmentations as safety
    from competition.models.interface import Rows
    from competition.views.terminal import measures
    from competition.views.terminal.screen import console

    store = open_store(options)
    member, fold = member_of(options, options.models[0]), 0
    held_out = store.folds.held_out == fold
    images, labels = Rows(store.dataset.images, held_out), store.dataset.labels[held_out]
    found = safety.effects(store.kept(member, fold), images, labels)
    console.print(measures.effects(list(found), store.dataset.classes))


def doctor(options: argparse.Namespace) -> None:
    """Look at a competition before a night is spent on it: classes, copies, drift, memory, disk, time."""
    import json
    from contextlib import suppress

    from competition.checks import doctor
    from competition.checks.machine_speed import peaks
    from competition.crossval.folds import split
    from competition.crossval.store import Store
    from competition.files import write_whole
    from competition.views.report import suspects
    from competition.views.terminal import measures
    from competition.views.terminal.screen import console
    from competition.workers.local import LocalWorkers

    dataset, members, folder = open_dataset(options), members_of(options), FOLDS / options.competition
    complete = []
    with suppress(Problem):  # a competition that cannot be split has no predictions either
        store = Store(folder, dataset, split(dataset, options.folds, options.seed))
        complete = [known for known in map(store.predictions, members) if known.complete]
    plan = doctor.Plan(members, options.folds, LocalWorkers(options.jobs).jobs, peaks()["float32"], FOLDS.parent)
    found = []
    for finding in doctor.examine(dataset, complete, plan):
        console.print(measures.finding(finding, dataset))
        found.append(finding)
    write_whole(folder / "doctor.json", json.dumps(doctor.told(dataset, found), indent=1).encode())
    page = suspects.write(folder / "doctor.html", options.competition, dataset, found)
    print(f"{page} shows the images, {folder / 'doctor.json'} has all of it as JSON")
