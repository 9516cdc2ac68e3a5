"""Run a benchmark: `python -m benchmarks NAME`."""

import argparse
import sys

from competition.cli.app import main
from competition.cli.session import DATA, FOLDS, SUBMISSIONS, open_dataset, open_store, sample_of, workers_of


def bench(options: argparse.Namespace) -> None:
    """Time every network's training step against this machine's matrix product; with --full, race recipes too."""
    import json
    from dataclasses import asdict

    from benchmarks import race, tables
    from benchmarks import speed as bench
    from competition.checks import machine_speed
    from competition.files import write_whole
    from competition.views.terminal.screen import console

    store = open_store(options)
    peaks = machine_speed.peaks()
    print("matrix product: " + ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in peaks.items()), flush=True)
    speeds = []
    for speed in bench.speeds(bench.networks(), store.dataset, peaks):
        print(f"{speed.network}, {speed.workers} workers: {speed.images_per_second:,.0f} images/s", flush=True)
        speeds.append(speed)
    console.print(tables.speeds(speeds))
    runs = list(race.race(store.dataset, store.folds, tables.tell_of_race)) if options.full else []
    if runs:
        console.print(tables.raced(runs))
    found = {"peaks": peaks, "speeds": [asdict(one) for one in speeds], "race": [asdict(run) for run in runs]}
    report = FOLDS / options.competition / "bench.json"
    write_whole(report, json.dumps(found, indent=1).encode())
    print(f"{report} has the same as JSON")


def presets(options: argparse.Namespace) -> None:
    """Train what tutorials teach on the 60,000 digits of mnist, and hold it against what they claim; hours in all."""
    from benchmarks import tables
    from benchmarks import tutorials as presets
    from competition.scoring.metrics import ACCURACY
    from competition.submission import format as submission
    from competition.submission.grading import grade
    from competition.views.terminal.screen import console

    options.competition = presets.COMPETITION
    dataset, sample = open_dataset(options), sample_of(options, ACCURACY)
    results = presets.Results(FOLDS / options.competition / "presets.json", dataset)
    waiting = results.waiting(presets.PRESETS)
    for member, trained in presets.train(waiting, dataset, tables.tell_of_preset, options.jobs):
        file = SUBMISSIONS / options.competition / "presets" / f"{member.name.replace(':', '-')}.csv"
        submission.write(trained.test, dataset, sample, file)
        accuracy = grade(file, DATA / options.competition, ACCURACY).accuracy
        results.keep(member, accuracy.value, accuracy.standard_error, trained.seconds)
        print(f"{member.name}: {accuracy.value:.2%} of {len(dataset.test_ids):,} test rows", flush=True)
    console.print(tables.presets(results.known))
    print(f"{results.path} has the same as JSON")


def rehearse(options: argparse.Namespace) -> None:
    """Hand out tasks that sleep, with real payloads, to see what a cluster's driver can serve."""
    from benchmarks.scheduling import rehearse
    from competition.models.member import Member

    store = open_store(options)
    with workers_of(options) as workers:
        found = rehearse(workers, store.dataset, store.folds, options.tasks, options.asleep)
    print(f"{found.tasks:,} tasks of {found.asleep:g} s on {found.workers} workers took {found.seconds:.1f} s")
    lost, handling = 1000 * found.lost, 1000 * found.handling
    print(f"each cost its worker {lost:.0f} ms beside its sleep, and the driver {handling:.1f} ms")
    print(f"each brought back {found.received / 1e6:.2f} MB; the driver held {found.memory / 1e6:.0f} MB at most")
    usual = Member.named("quick").spec.seconds
    print(f"one driver keeps {found.most(usual):,} workers busy with tasks of {usual:.0f} s, such as a fold of quick")


COMMANDS = (
    (bench, "competition folds seed full"),
    (presets, "jobs"),
    (rehearse, "competition folds seed cluster jobs tasks asleep"),
)

if __name__ == "__main__":
    sys.exit(main(commands=COMMANDS, program="python -m benchmarks", about=__doc__))
