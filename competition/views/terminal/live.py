"""Live progress: tables that update in place on a terminal, lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from competition.crossval.checkpoint import CheckpointFailed, Resumed
from competition.crossval.extraction import OnProgress
from competition.crossval.predictions import CurvePoint
from competition.crossval.progress import Progress, format_duration
from competition.views.terminal.screen import console
from competition.workers.events import Emitted, Event, Failed, Finished, OnEvent, Retried, Skipped

MAX_SHOWN = 4  # running trial folds in the status line of a search


@contextmanager
def show_table(progress: Progress) -> Iterator[OnEvent]:
    """Show a live table on a terminal, lines elsewhere; return the callback that updates it."""
    live = Live(console=console, get_renderable=lambda: progress_table(progress), refresh_per_second=2, transient=True)

    def on_event(event: Event) -> None:
        line = progress.update(event)
        is_important = isinstance(event, Retried | Failed | Skipped | Resumed | CheckpointFailed)
        is_important = is_important or (isinstance(event, Finished) and event.result.remark)
        if line and (is_important or not console.is_terminal):
            console.print(line)

    with live if console.is_terminal else nullcontext():
        yield on_event


def progress_table(progress: Progress) -> Table:
    """A table with a row for each model and, below it, one for each running fold."""
    title = f"time left {format_duration(progress.time_left())}"
    table = Table("model", "folds", box=None, title=title, title_justify="left")
    for heading in (f"{progress.metric.name} so far", "loss", "images/s", "memory", "time left"):
        table.add_column(heading, justify="right")
    for member in progress.members:
        done, count = len(progress.seconds[member.name]), len(progress.store.tasks(member))
        left = "" if done == count else format_duration(progress.member_time_left(member))
        table.add_row(member.name, f"{done}/{count}", progress.format_score(member.name), "", "", "", left)
        for task, run in list(progress.running.items()):
            if task.member == member:
                left = format_duration(run.time_left(progress.expected_seconds(member)))
                table.add_row(f"  {task.part}", *_epoch_cells(run.point), left, style="dim")
    return table


def _epoch_cells(point: CurvePoint | None) -> tuple[str, ...]:
    """Epoch, held-out accuracy or error, loss, speed and memory of a running fold."""
    if point is None:
        return "started", "", "", "", ""
    speed, memory = f"{point.images_per_second:,.0f}", f"{point.memory / 2**30:.1f} GiB"
    accuracy = "" if point.held_out_log_loss is None else f"RMSE {point.held_out_log_loss:.4g}"
    if point.held_out_accuracy is not None:
        accuracy = f"{100 * point.held_out_accuracy:.1f} % accuracy"
    return f"epoch {point.epoch}/{point.epochs}", accuracy, f"{point.loss:.3f}", speed, memory


@contextmanager
def show_extraction() -> Iterator[OnProgress]:
    """Show a progress bar on a terminal, a line for each tenth elsewhere; return the callback that updates it."""
    start, first, shown = time.monotonic(), -1, -1
    columns = "extracting features", BarColumn(), MofNCompleteColumn(), "images, time left", TimeRemainingColumn()
    bar = ProgressBar(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("")

    def on_progress(done: int, total: int) -> None:
        nonlocal first, shown
        bar.update(task, completed=done, total=total)
        first = done if first < 0 else first  # that an earlier run extracted
        tenth = 10 * done // max(total, 1)
        if tenth > shown and not console.is_terminal:
            elapsed = time.monotonic() - start
            left = f", time left {format_duration(elapsed * (total - done) / (done - first))}" if done > first else ""
            console.print(f"extracted features of {done:,} of {total:,} images{left}")
        shown = max(shown, tenth)

    with bar:
        yield on_progress


@contextmanager
def show_search() -> Iterator[OnEvent]:
    """Show the running folds of trials in a status line on a terminal; return the callback that updates it."""
    running: dict[Any, str] = {}
    status = console.status("")

    def on_event(event: Event) -> None:
        if isinstance(event, Retried):
            console.print(f"retrying {event.task.name}: {event.failure.reason}")
        if isinstance(event, Finished | Failed):
            running.pop(event.task, None)
            return
        running[event.task] = "epoch {}/{}".format(*event.payload) if isinstance(event, Emitted) else ""
        for oldest in list(running)[:-MAX_SHOWN]:
            del running[oldest]
        if console.is_terminal:
            status.update(", ".join(f"{fold.name} {epoch}".rstrip() for fold, epoch in running.items()))

    with status if console.is_terminal else nullcontext():
        yield on_event
