"""What a person sees in the terminal: progress while models train, the leaderboard afterwards."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from competition import models
from competition.crossval import in_order
from competition.ensemble import Blend
from competition.grading import Grade
from competition.metrics import Score, accuracy, hits, log_loss, mcnemar
from competition.models import Member
from competition.store import Predictions, Store
from competition.task import Task

USUAL_ROWS = 33_600  # the training rows to which a model's usual seconds refer

console = Console(highlight=False, soft_wrap=True)


@dataclass
class Running:
    """A task in the hands of a worker."""

    since: float = field(default_factory=time.monotonic)
    epochs: tuple[int, int] | None = None  # (done, in all)

    def left(self, expected: float) -> float:
        """Seconds to go, by its epochs where it has told of some."""
        elapsed = time.monotonic() - self.since
        if self.epochs:
            done, of = self.epochs
            return max(0.0, elapsed * of / done - elapsed)
        return max(0.0, expected - elapsed)


class Progress:
    """Which folds are done, which run, and how long the rest will take."""

    def __init__(self, store: Store, members: Sequence[Member], jobs: int) -> None:
        self.store = store
        self.members = in_order(members)
        self.jobs = jobs
        self.running: dict[Task, Running] = {}
        self.seconds: dict[str, dict[int, float]] = {member.name: {} for member in members}
        self.hits: dict[str, np.ndarray] = {}
        for member in members:
            self.hits[member.name] = np.full(len(store.dataset.labels), np.nan)
            for fold in range(store.folds.count):
                if store.changed(member, fold) is None:
                    self.seconds[member.name][fold] = store.seconds(member, fold)
            if self.seconds[member.name]:
                oof = store.predictions(member).oof
                known = np.isfinite(oof[:, 0])
                self.hits[member.name][known] = hits(store.dataset.labels[known], oof[known])
        self.trained: list[tuple[float, float]] = []  # (seconds, usual seconds) of the folds of this run

    def hear(self, task: Task, what: str, detail: Any = None) -> str | None:
        """Take in what happened; a line for those who read a log."""
        if what == "started":
            self.running[task] = Running()
        elif what == "epoch" and task in self.running:
            self.running[task].epochs = detail
        elif what == "again":
            self.running.pop(task, None)
            return f"{task.name} is tried again: {detail.reason}"
        elif what == "failed":
            self.running.pop(task, None)
            return f"{task.name} failed: {detail.reason}\n{detail.details}".rstrip()
        elif what == "finished":
            self.running.pop(task, None)
            name, held_out = task.member.name, self.store.folds.held_out == task.fold
            self.seconds[name][task.fold] = detail.seconds
            self.trained.append((detail.seconds, self._usual(task.member)))
            self.hits[name][held_out] = hits(self.store.dataset.labels[held_out], detail.held_out)
            took, left = clock(detail.seconds), clock(self.left())
            return f"{task.name} took {took}; {name} has {percent(self.score(name))} so far; to go {left}"
        return None

    def score(self, name: str) -> Score | None:
        """Accuracy on the rows that are predicted so far."""
        known = self.hits[name][np.isfinite(self.hits[name])]
        return Score.of(known) if len(known) else None

    def left(self) -> float:
        """Seconds to go, all workers together."""
        return sum(self._left(member) for member in self.members) / self.jobs

    def __rich__(self) -> RenderableType:
        table = Table(box=None, title=f"to go {clock(self.left())}", title_justify="left")
        for heading in ("model", "folds", "running", "accuracy so far", "to go"):
            table.add_column(heading, justify="left" if heading in ("model", "running") else "right")
        for member in self.members:
            running = [
                f"{task.fold}: " + (f"epoch {run.epochs[0]}/{run.epochs[1]}" if run.epochs else "started")
                for task, run in list(self.running.items())
                if task.member == member
            ]
            done = len(self.seconds[member.name])
            left = "" if done == self.store.folds.count else clock(self._left(member) / self.jobs)
            folds = f"{done}/{self.store.folds.count}"
            table.add_row(member.name, folds, ", ".join(running), percent(self.score(member.name)), left)
        return table

    def _left(self, member: Member) -> float:
        """Seconds of work that the member still has."""
        done = self.seconds[member.name]
        speed = sum(took for took, _ in self.trained) / (sum(usual for _, usual in self.trained) or 1) or 1.0
        expected = float(np.mean(list(done.values()))) if done else self._usual(member) * speed
        waiting = self.store.folds.count - len(done)
        running = [run for task, run in list(self.running.items()) if task.member == member]
        return sum(run.left(expected) for run in running) + (waiting - len(running)) * expected

    def _usual(self, member: Member) -> float:
        rows = len(self.store.dataset.labels) * (1 - 1 / self.store.folds.count)
        return models.load(member.model).seconds * rows / USUAL_ROWS


@contextmanager
def shown(progress: Progress) -> Iterator[Any]:
    """Show progress as a live table on a terminal, as lines elsewhere; gives the function that hears of it."""
    live = Live(progress, console=console, refresh_per_second=2, transient=True) if console.is_terminal else None

    def hear(*said: Any) -> None:
        if (line := progress.hear(*said)) and (not live or said[1] in ("again", "failed")):
            console.print(line, markup=False)

    if live:
        with live:
            yield hear
    else:
        yield hear


def leaderboard(members: Sequence[Predictions], labels: np.ndarray) -> Table:
    """A row for each complete member, the best first."""
    table = Table("model", box=None)
    for heading in ("accuracy", "log loss", "training"):
        table.add_column(heading, justify="right")
    for member in sorted(members, key=lambda one: -accuracy(labels, one.oof).value):
        scores = percent(accuracy(labels, member.oof)), plain(log_loss(labels, member.oof))
        table.add_row(member.member, *scores, clock(member.seconds))
    return table


def blends(chosen: Blend, mean: Blend, labels: np.ndarray) -> Table:
    """The chosen blend beside the plain mean, with its members' weights."""
    table = Table("blend, cross-fitted", box=None)
    for heading in ("accuracy", "log loss"):
        table.add_column(heading, justify="right")
    for name, blend in (("mean of all", mean), ("greedy selection", chosen)):
        table.add_row(name, percent(blend.accuracy), plain(blend.log_loss))
    compared = mcnemar(labels, mean.oof, chosen.oof)
    verdict = "beyond noise" if compared.is_news else "noise"
    gain = f"{compared.fixed} rows fixed, {compared.broken} broken, p = {compared.p_value:.2f}: {verdict}"
    weights = zip(chosen.members, chosen.weighting.weights, strict=True)
    picked = ", ".join(f"{name} {weight:.2f}" for name, weight in weights if weight)
    table.caption = f"greedy against mean: {gain}\nweights: {picked}"
    table.caption_justify = "left"
    return table


def graded(grade: Grade) -> Table:
    """A grade, class by class."""
    table = Table("class", box=None)
    for heading in ("rows", "wrong", "accuracy"):
        table.add_column(heading, justify="right")
    for name, rows, wrong in grade.by_class:
        table.add_row(str(name), str(rows), str(wrong), f"{100 * (1 - wrong / rows):.2f} %")
    table.add_row("all", str(grade.rows), str(grade.wrong), percent(grade.accuracy))
    return table


def percent(score: Score | None) -> str:
    """An accuracy with its standard error."""
    return f"{100 * score.value:.3f} ± {100 * score.standard_error:.3f} %" if score else ""


def plain(score: Score) -> str:
    """A score with its standard error."""
    return f"{score.value:.4f} ± {score.standard_error:.4f}"


def clock(seconds: float) -> str:
    """Seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
