"""Run a benchmark: `python -m benchmarks NAME`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from competition import errors
from competition.cli import options as cli
from competition.cli.app import command, create_app, run
from competition.cli.run import DATA, FOLDS, SUBMISSIONS, RunOptions, open_competition, open_run, open_store

app = create_app(help=__doc__, add_completion=False)


@command(app)
def bench(
    competition: cli.Competition = "digits",
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    full: Annotated[
        bool, cli.option("full", "Also race recipes to 99.5 % on one fold, which takes an hour or more.")
    ] = False,
) -> None:
    """Measure each network's training speed relative to this machine's matrix product; with --full, race recipes."""
    import json
    from dataclasses import asdict

    from benchmarks.race import race_recipes
    from benchmarks.speed import available_networks, measure_speeds
    from benchmarks.tables import print_race_epoch, race_tables, speed_table
    from competition.checks.machine_speed import measure_gflops
    from competition.files import write_atomically
    from competition.views.terminal.screen import console

    store = open_store(open_competition(competition), folds, seed)
    peaks = measure_gflops()
    print("matrix product: " + ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in peaks.items()), flush=True)
    speeds = []
    for speed in measure_speeds(available_networks(), store.dataset, peaks):
        print(f"{speed.network}, {speed.workers} workers: {speed.images_per_second:,.0f} images/s", flush=True)
        speeds.append(speed)
    console.print(speed_table(speeds))
    runs = list(race_recipes(store.dataset, store.folds, print_race_epoch)) if full else []
    for table in race_tables(runs):
        console.print(table)
    results = {"peaks": peaks, "speeds": [asdict(speed) for speed in speeds], "race": [asdict(run) for run in runs]}
    path = FOLDS / competition / "bench.json"
    write_atomically(path, json.dumps(results, indent=1).encode())
    print(f"results as JSON: {path}")


@command(app)
def tutorials(jobs: cli.Jobs = None) -> None:
    """Train the recipes of tutorials on MNIST's 60,000 training rows and compare with their claims (takes hours)."""
    from benchmarks import tutorials
    from benchmarks.tables import print_tutorial_progress, tutorial_table
    from competition.scoring.metrics import ACCURACY
    from competition.submission.format import write_submission
    from competition.submission.grading import grade
    from competition.views.terminal.screen import console

    competition = open_competition(tutorials.COMPETITION)
    dataset, sample = competition.dataset, competition.sample(ACCURACY)
    results = tutorials.Results(competition.folds_folder / "tutorials.json", dataset)
    members = results.pending_members(tutorials.TUTORIALS)
    for member, predictions in tutorials.train(members, dataset, print_tutorial_progress, jobs):
        file = SUBMISSIONS / competition.name / "tutorials" / f"{member.name.replace(':', '-')}.csv"
        write_submission(predictions.test, dataset, sample, file)
        accuracy = grade(file, competition.folder, ACCURACY).accuracy
        results.save(member, accuracy, predictions.seconds)
        print(f"{member.name}: {accuracy.value:.2%} of {len(dataset.test_ids):,} test rows", flush=True)
    console.print(tutorial_table(results.by_member))
    print(f"results as JSON: {results.path}")


@command(app)
def decisions() -> None:
    """Compare ways to choose among ordered classes for QWK, on simulated grades."""
    from benchmarks.qwk_decisions import decision_table
    from competition.views.terminal.screen import console

    console.print(decision_table())


@command(app)
def training_rows(
    competition: cli.Competition = "digits", models: cli.Models = None, seed: cli.Seed = 1, jobs: cli.Jobs = None
) -> None:
    """Train on half of the rows, in 5 and in 10 folds and on all of them, and compare on the other half."""
    from benchmarks.tables import training_rows_table
    from benchmarks.training_rows import compare_training_rows
    from competition.cli.train import open_workers
    from competition.views.terminal.screen import console

    opened = open_run(RunOptions(competition, models or ["quick"], 2, seed, jobs))
    opened.competition.require_classes("training-rows")
    rows = int((opened.store.folds.held_out == 0).sum())
    for member in opened.members:
        with open_workers(opened) as workers:
            results = list(compare_training_rows(opened.dataset, opened.store.folds, member, (5, 10), 5, workers))
        console.print(training_rows_table(member.name, results, rows))


@command(app)
def fashion_mnist(
    source: Annotated[
        Path | None, typer.Option(help="Folder of its four compressed files.  [default: that of Debian's package]")
    ] = None,
) -> None:
    """Write Fashion-MNIST as the practice competition data/fashion-mnist."""
    from benchmarks.fashion_mnist import FOLDER, make_fashion_mnist

    _make_practice_data("fashion-mnist", make_fashion_mnist, source or FOLDER)


@command(app)
def characters(
    font: Annotated[
        Path | None, typer.Option(help="A TrueType or OpenType font.  [default: that of Debian's package]")
    ] = None,
) -> None:
    """Draw the practice competition data/characters: 210 characters in ink on paper, 20 drawings of each."""
    from benchmarks.characters import FONT, make_characters

    _make_practice_data("characters", make_characters, font or FONT)


@command(app)
def split_photographs(
    source: Annotated[Path, typer.Argument(help="Folder of labels.csv (file names, classes) and images/.")],
    name: Annotated[str, typer.Argument(help="Name of the competition to write.")],
) -> None:
    """Write a practice competition in which a fifth of the pictures of SOURCE are test rows."""
    from benchmarks.held_back_photographs import hold_back

    _make_practice_data(name, hold_back, source)


@command(app)
def export_columns(
    output: Annotated[Path, typer.Argument(help="Folder of the CSV files.")],
    competition: cli.Competition = "digits",
    features: Annotated[bool, cli.option("features", "Write pretrained features instead of pixels.")] = False,
) -> None:
    """Write a competition's pictures as columns of numbers, for tabular tools."""
    from benchmarks.held_back_photographs import write_columns

    opened = open_competition(competition)
    write_columns(opened.dataset, opened.folder / "sample_submission.csv", output, features)
    print(f"{output / 'train.csv'}, {output / 'test.csv'}")


def _make_practice_data(name: str, make: Callable[[Path, Path], None], source: Path) -> None:
    """Write a practice competition from its source, and say how to train on it."""
    folder = DATA / name
    make(folder, source)
    print(f"{folder} is a competition; train on it: {errors.command('submit', competition=name)}")


@command(app)
def anytime(
    clones: Annotated[list[str], typer.Argument(help="NAME=FOLDER of each clone.")],
    competition: cli.Competition = "digits",
    output: Annotated[Path, typer.Option(help="File of the chart.")] = Path("docs/experiments/anytime.svg"),
) -> None:
    """Run `submit` in clones of several versions, one after the other, and plot accuracy against time."""
    from benchmarks.anytime import draw, record_curve, run_submit

    curves = {}
    if not all("=" in clone for clone in clones):
        raise errors.UserError("each clone is given as NAME=FOLDER")
    for name, _, folder in (clone.partition("=") for clone in clones):
        curves[name] = curve = record_curve(run_submit(Path(folder), competition))
        for each in curve.submissions:
            print(f"{name}: {each.members} {each.percent:.3f} % after {each.minutes:.2f} minutes", flush=True)
        print(f"{name}: finished after {curve.minutes:.2f} minutes", flush=True)
    output.write_text(draw(curves))
    print(f"chart: {output}")


@command(app)
def screenshots(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.Jobs = None,
    output: Annotated[Path, typer.Option(help="Folder of the images.")] = Path("docs"),
) -> None:
    """Update the screenshots in docs/: of the competition's report, of the demo and of a training run on 8x8 digits."""
    from benchmarks import screenshots
    from competition.cli.run import default_models
    from competition.cli.views import open_demo, report, report_path

    options = RunOptions(competition, models, folds, seed)
    report(options)
    output.mkdir(parents=True, exist_ok=True)
    opened = open_run(options)
    with screenshots.open_browser() as browser:
        screenshots.capture_report(browser, report_path(opened), output / "report.png")
        with screenshots.serve(open_demo(competition, None)) as address:
            screenshots.capture_demo(browser, address, output / "demo.png")
    screenshots.capture_training(default_models(opened.dataset), (output / "terminal.svg").absolute(), jobs)
    print(f"{output / 'report.png'}, {output / 'demo.png'}, {output / 'terminal.svg'}")


@command(app)
def competitions(folds: cli.Folds = 5) -> None:
    """Read miniatures of 24 real competitions from their archives, and print what is inferred as a Markdown table."""
    from benchmarks.competitions import infer_layouts, table_row

    print("| competition | labels | predicted | groups | not used | submission | metric, score of the miniature |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for layout in infer_layouts(folds):
        print(table_row(layout), flush=True)


@command(app, "cluster")
def scheduling(
    competition: cli.Competition = "digits",
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.Jobs = None,
    cluster: cli.Cluster = None,
    tasks: Annotated[int, cli.count_option("tasks", "Number of tasks.")] = 200,
    sleep: Annotated[
        float | None,
        cli.option("sleep", "Duration of each task's sleep.  [default: 1s]", parser=cli.parse_duration, metavar="TIME"),
    ] = None,
) -> None:
    """Run tasks that sleep but return results of the usual size, to measure the throughput of a cluster's driver."""
    from benchmarks.scheduling import measure_scheduling
    from competition.cli.train import open_workers

    opened = open_run(RunOptions(competition, ["quick"], folds, seed, jobs, cluster=cluster))
    with open_workers(opened) as workers:
        result = measure_scheduling(workers, opened.dataset, opened.store.folds, tasks, sleep or 1.0)
    print(f"{result.tasks:,} tasks of {result.sleep:g} s on {result.workers} workers took {result.seconds:.1f} s")
    worker_ms, driver_ms = 1000 * result.worker_overhead, 1000 * result.driver_overhead
    print(f"overhead per task: {worker_ms:.0f} ms of worker time, {driver_ms:.1f} ms of driver CPU time")
    print(f"result size {result.result_bytes / 1e6:.2f} MB; peak memory of the driver {result.memory / 1e6:.0f} MB")
    fold_seconds = opened.members[0].spec.seconds
    workers_served = result.max_workers(fold_seconds)
    print(f"one driver can serve {workers_served:,} workers with tasks of {fold_seconds:.0f} s, as for a fold of quick")


if __name__ == "__main__":
    sys.exit(run(app, "python -m benchmarks"))
