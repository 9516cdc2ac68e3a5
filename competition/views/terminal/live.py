"""While something runs: tables that move on a terminal, lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.live import Live
from rich.table import Table

from competition.crossval.curves import Point
from competition.crossval.progress import Progress, clock
from competition.views.terminal.screen import console

MOST_RUNNING = 4  # folds of a search that are told at a time


@contextmanager
def shown(progress: Progress) -> Iterator[Any]:
    """Show progress as a live table on a terminal, as lines elsewhere; gives the function that hears of it."""
    settings: Any = {"console": console, "refresh_per_second": 2, "transient": True}
    live = Live(get_renderable=lambda: table(progress), **settings) if console.is_terminal else None

    def hear(*said: Any) -> None:
        told = said[1] in ("again", "failed", "dropped") or (said[1] == "finished" and said[2].remark)
        if (line := progress.hear(*said)) and (told or not live):
            console.print(line, markup=False)

    if live:
        with live:
            yield hear
    else:
        yield hear


def table(progress: Progress) -> Table:
    """A row for each model, and under it one for each of its folds that a worker has in hand."""
    rows = Table("model", "folds", box=None, title=f"to go {clock(progress.left())}", title_justify="left")
    for heading in (f"{progress.metric.name} so far", "loss", "images/s", "memory", "to go"):
        rows.add_column(heading, justify="right")
    count = progress.store.folds.count
    for member in progress.members:
        done = len(progress.seconds[member.name])
        left = "" if done == count else clock(progress.least_for(member))
        rows.add_row(member.name, f"{done}/{count}", progress.standing(member.name), "", "", "", left)
        for task, run in list(progress.running.items()):
            if task.member == member:
                left = clock(run.left(progress.expected(member)))
                rows.add_row(f"  fold {task.fold}", *_standing(run.point), left, style="dim")
    return rows


def _standing(point: Point | None) -> tuple[str, ...]:
    """Epoch, held-out accuracy, loss, speed and memory of a fold in training, as far as they are known."""
    if point is None:
        return "started", "", "", "", ""
    speed, memory = f"{point.images_per_second:,.0f}", f"{point.memory / 2**30:.1f} GiB"
    seen = f"{100 * point.held_out_accuracy:.1f} % right"
    return f"epoch {point.epoch}/{point.epochs}", seen, f"{point.loss:.3f}", speed, memory


@contextmanager
def searching() -> Iterator[Any]:
    """Show on a terminal which folds of which trials run; gives the function that hears of it."""
    running: dict[Any, str] = {}
    status = console.status("") if console.is_terminal else None

    def hear(examination: Any, what: str, detail: Any = None) -> None:
        if what == "again":
            console.print(f"{examination.name} is tried again: {detail.reason}", markup=False)
        if what == "ended":
            running.pop(examination, None)
            return
        running[examination] = f"epoch {detail[0]}/{detail[1]}" if what == "epoch" else ""
        for old in list(running)[:-MOST_RUNNING]:
            del running[old]
        if status:
            status.update(", ".join(f"{one.name} {how}".rstrip() for one, how in running.items()))

    if status:
        with status:
            yield hear
    else:
        yield hear
