"""What a user may want to know of models and machine."""

import argparse

from competition.problem import Problem
from competition.session import DATA, FOLDS, SUBMISSIONS, member_of, members_of, open_dataset, open_store, sample_of


def safety(options: argparse.Namespace) -> None:
    """Show to the first model, on rows that it was not trained on, which changes of images change their class."""
    from competition import safety, terminal
    from competition.spec import Rows

    store = open_store(options)
    member, fold = member_of(options, options.models[0]), 0
    held_out = store.folds.held_out == fold
    images, labels = Rows(store.dataset.images, held_out), store.dataset.labels[held_out]
    found = safety.effects(store.kept(member, fold), images, labels)
    terminal.console.print(terminal.effects(list(found), store.dataset.classes))


def bench(options: argparse.Namespace) -> None:
    """Time every network's training step against this machine's matrix product; with --full, race recipes too."""
    import json
    from dataclasses import asdict

    from competition import bench, race, terminal
    from competition.files import write_whole

    store = open_store(options)
    peaks = bench.peaks()
    print("matrix product: " + ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in peaks.items()), flush=True)
    speeds = []
    for speed in bench.speeds(bench.networks(), store.dataset, peaks):
        print(f"{speed.network}, {speed.workers} workers: {speed.images_per_second:,.0f} images/s", flush=True)
        speeds.append(speed)
    terminal.console.print(terminal.speeds(speeds))
    runs = list(race.race(store.dataset, store.folds, terminal.tell_of_race)) if options.full else []
    if runs:
        terminal.console.print(terminal.raced(runs))
    found = {"peaks": peaks, "speeds": [asdict(one) for one in speeds], "race": [asdict(run) for run in runs]}
    report = FOLDS / options.competition / "bench.json"
    write_whole(report, json.dumps(found, indent=1).encode())
    print(f"{report} has the same as JSON")


def presets(options: argparse.Namespace) -> None:
    """Train what tutorials teach on the 60,000 digits of mnist, and hold it against what they claim; hours in all."""
    from competition import presets, submission, terminal
    from competition.grading import grade
    from competition.metrics import ACCURACY

    options.competition = presets.COMPETITION
    dataset, sample = open_dataset(options), sample_of(options, ACCURACY)
    results = presets.Results(FOLDS / options.competition / "presets.json", dataset)
    waiting = results.waiting(presets.PRESETS)
    for member, trained in presets.train(waiting, dataset, terminal.tell_of_preset, options.jobs):
        file = SUBMISSIONS / options.competition / "presets" / f"{member.name.replace(':', '-')}.csv"
        submission.write(trained.test, dataset, sample, file)
        accuracy = grade(file, DATA / options.competition, ACCURACY).accuracy
        results.keep(member, accuracy.value, accuracy.standard_error, trained.seconds)
        print(f"{member.name}: {accuracy.value:.2%} of {len(dataset.test_ids):,} test rows", flush=True)
    terminal.console.print(terminal.presets(results.known))
    print(f"{results.path} has the same as JSON")


def doctor(options: argparse.Namespace) -> None:
    """Look at a competition before a night is spent on it: classes, copies, drift, memory, disk, time."""
    import json
    from contextlib import suppress

    from competition import doctor, terminal
    from competition.bench import peaks
    from competition.compute import LocalWorkers
    from competition.files import write_whole
    from competition.folds import split
    from competition.report import suspects
    from competition.store import Store

    dataset, members, folder = open_dataset(options), members_of(options), FOLDS / options.competition
    complete = []
    with suppress(Problem):  # a competition that cannot be split has no predictions either
        store = Store(folder, dataset, split(dataset, options.folds, options.seed))
        complete = [known for known in map(store.predictions, members) if known.complete]
    plan = doctor.Plan(members, options.folds, LocalWorkers(options.jobs).jobs, peaks()["float32"], FOLDS.parent)
    found = []
    for finding in doctor.examine(dataset, complete, plan):
        terminal.console.print(terminal.finding(finding, dataset))
        found.append(finding)
    write_whole(folder / "doctor.json", json.dumps(doctor.told(dataset, found), indent=1).encode())
    page = suspects.write(folder / "doctor.html", options.competition, dataset, found)
    print(f"{page} shows the images, {folder / 'doctor.json'} has all of it as JSON")
