"""Tables of what was measured of machine and recipes."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.race import GOAL, Run
from benchmarks.speed import Speed
from benchmarks.tutorials import PRESETS, Result
from competition.crossval.progress import clock
from competition.crossval.task import Task
from competition.scoring.score import Score, percent
from competition.views.terminal.screen import console


def speeds(found: Sequence[Speed]) -> Table:
    """A row for each network and number of workers."""
    table = Table("network", box=None)
    for heading in ("workers", "parameters", "multiply-adds", "images/s", "GFLOP/s", "share of peak"):
        table.add_column(heading, justify="right")
    for one in found:
        size = f"{one.parameters:,}", f"{one.multiply_adds / 1e6:.1f} M"
        rates = f"{one.images_per_second:,.0f}", f"{one.gflops:.0f}", f"{one.share_of_peak:.0%}"
        table.add_row(one.network, str(one.workers), *size, *rates)
    return table


def tell_of_race(task: Task, what: str, said: Any = None) -> None:
    """A line for each epoch of a race."""
    if what == "epoch":
        done, of, seconds, score = said
        console.print(f"{task.member.name} epoch {done}/{of}: {percent(score)} after {clock(seconds)}")


def raced(runs: Sequence[Run]) -> Table:
    """A row for each recipe, the first at the goal on top; one that never reaches it counts its full length."""
    table = Table("recipe", box=None)
    for heading in ("training", f"until {GOAL:.1%}", "times quick's", "accuracy at the end"):
        table.add_column(heading, justify="right")
    quick = next(run for run in runs if run.member == "quick")
    for run in sorted(runs, key=_finish):
        until = clock(run.until_goal) if run.until_goal else "never"
        times = f"{_finish(run) / _finish(quick):.1f}"
        table.add_row(run.member, clock(run.seconds[-1]), until, times, percent(run.end))
    return table


def _finish(run: Run) -> float:
    return run.until_goal or run.seconds[-1]


def tell_of_preset(task: Task, what: str, said: Any = None) -> None:
    """A line for each epoch of a tutorial's training, and for what starts."""
    name = task.member.name
    if what == "started":
        console.print(f"{name} starts")
    elif what == "epoch":
        done, of, seconds = said
        console.print(f"{name} epoch {done}/{of}; to go {clock(seconds * (of - done) / done)}")


def presets(results: Mapping[str, Result]) -> Table:
    """A row for each preset that was trained: what tutorials claim, and what it did."""
    table = Table("preset", "taught", "claimed", box=None)
    for heading in ("measured", "training"):
        table.add_column(heading, justify="right")
    for preset in PRESETS:
        if result := results.get(preset.name):
            measured = percent(Score(result.accuracy, result.standard_error))
            table.add_row(preset.name, preset.taught, preset.claimed, measured, clock(result.seconds))
    return table
