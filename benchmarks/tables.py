"""Tables and progress lines of the benchmarks."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.race import GOAL, Run
from benchmarks.speed import Speed
from benchmarks.training_rows import Comparison
from benchmarks.tutorials import TUTORIALS, Result
from competition.crossval.progress import format_duration
from competition.scoring.standard_error import Score, format_percent
from competition.views.terminal.screen import console
from competition.workers.events import Emitted, Event, Started


def speed_table(speeds: Sequence[Speed]) -> Table:
    """A row for each network and number of workers."""
    table = Table("network", box=None)
    for heading in ("workers", "parameters", "multiply-adds", "images/s", "GFLOP/s", "share of peak", "convolutions"):
        table.add_column(heading, justify="right")
    for speed in speeds:
        size = f"{speed.parameters:,}", f"{speed.multiply_adds / 1e6:.1f} M"
        rates = f"{speed.images_per_second:,.0f}", f"{speed.gflops:.0f}"
        shares = f"{speed.share_of_peak:.0%}", f"{speed.convolution_share:.0%}"
        table.add_row(speed.network, str(speed.workers), *size, *rates, *shares)
    return table


def print_race_epoch(event: Event) -> None:
    """Print the accuracy after each epoch of a race."""
    if isinstance(event, Emitted):
        precision, epoch, epochs, seconds, score = event.payload
        name = f"{event.task.member.name} in {precision}"
        console.print(f"{name} epoch {epoch}/{epochs}: {format_percent(score)} after {format_duration(seconds)}")


def race_tables(runs: Sequence[Run]) -> list[Table]:
    """A table for each precision."""
    precisions = sorted({run.precision for run in runs})
    return [_race_table(precision, [run for run in runs if run.precision == precision]) for precision in precisions]


def _race_table(precision: str, runs: Sequence[Run]) -> Table:
    """A row for each recipe, fastest to the goal first; without reaching it, the whole training time counts."""
    table = Table(f"recipe in {precision}", box=None)
    for heading in ("CPU time", f"time to {GOAL:.1%}", "relative to quick", "final accuracy"):
        table.add_column(heading, justify="right")
    quick = next(run for run in runs if run.member == "quick")
    for run in sorted(runs, key=_ranking_seconds):
        goal = format_duration(run.seconds_to_goal) if run.seconds_to_goal else "never"
        ratio = f"{_ranking_seconds(run) / _ranking_seconds(quick):.1f}"
        table.add_row(run.member, format_duration(run.seconds[-1]), goal, ratio, format_percent(run.final_accuracy))
    return table


def _ranking_seconds(run: Run) -> float:
    return run.seconds_to_goal or run.seconds[-1]


def training_rows_table(member: str, comparisons: Sequence[Comparison], rows: int) -> Table:
    """A row for each way to use the training rows, with its paired differences from the first."""
    table = Table(member, box=None)
    for heading in ("training rows", "runs", "wrong", "difference", "log loss", "difference", "time"):
        table.add_column(heading, justify="right")
    for each in comparisons:
        wrong = f"{rows * each.more_wrong.value:+.0f} ± {rows * each.more_wrong.standard_error:.0f}"
        loss = f"{each.more_log_loss.value:+.5f} ± {each.more_log_loss.standard_error:.5f}"
        counts = f"{each.training_rows:,}", str(each.runs), str(each.wrong)
        table.add_row(each.name, *counts, wrong, f"{each.log_loss:.5f}", loss, format_duration(each.seconds))
    return table


def print_tutorial_progress(event: Event) -> None:
    """Print the start of each training run and the time left after each epoch."""
    name = event.task.member.name
    if isinstance(event, Started):
        console.print(f"{name} started")
    elif isinstance(event, Emitted):
        epoch, epochs, seconds = event.payload
        console.print(f"{name} epoch {epoch}/{epochs}; time left {format_duration(seconds * (epochs - epoch) / epoch)}")


def tutorial_table(results: Mapping[str, Result]) -> Table:
    """A row for each tutorial with a result: the claimed and the measured accuracy."""
    table = Table("recipe", "tutorial", "claimed", box=None)
    for heading in ("measured", "CPU time"):
        table.add_column(heading, justify="right")
    for tutorial in TUTORIALS:
        if result := results.get(tutorial.name):
            measured = format_percent(Score(result.accuracy, result.standard_error))
            table.add_row(
                tutorial.name, tutorial.description, tutorial.claim, measured, format_duration(result.seconds)
            )
    return table
