"""What a person sees in the terminal: progress while models train, the leaderboard afterwards."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from competition.advice import Help, unlike
from competition.bench import Speed
from competition.curves import Point
from competition.data import Dataset
from competition.doctor import Finding, image_name
from competition.ensemble import Blend
from competition.grading import Grade
from competition.ledger import Entry
from competition.metrics import ACCURACY, Metric, Score, columns, mcnemar, percent, plain, ranking, row_log_loss
from competition.presets import PRESETS, Result
from competition.progress import Progress, clock
from competition.race import GOAL, Run
from competition.safety import Effect
from competition.sources import is_embedded
from competition.store import Predictions
from competition.task import Task

if TYPE_CHECKING:  # tuning brings Optuna, which other commands need not wait for
    from optuna.trial import FrozenTrial

    from competition.adoption import Verdict
    from competition.campaign import Search

DIGITS, TOO_GOOD = "digit-recognizer", 0.9985  # no honest model of it is better: that many labels are wrong
WIDE = 120  # columns of a log, where there is no terminal to ask
WORTH_TRAINING = 1e-4  # of log loss
WORTH_TELLING = 0.005  # of a weight
EXAMPLES = 5  # of what the doctor found of a kind
MOST_RUNNING = 4  # folds of a search that are told at a time

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


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


def leaderboard(members: Sequence[Predictions], labels: np.ndarray, metric: Metric) -> Table:
    """A row for each complete member, the best first."""
    table = Table("model", box=None)
    for heading in (*(one.name for one in columns(metric)), "training"):
        table.add_column(heading, justify="right")
    seconds = {member.member: clock(member.seconds) for member in members}
    for name, scores in ranking({member.member: member.oof for member in members}, labels, metric).items():
        table.add_row(name, *scores, seconds[name])
    return table


def scored(metric: Metric, score: Score) -> str:
    """A score, and by what if it is not accuracy."""
    return metric.told(score) if metric == ACCURACY else f"{metric.name} {metric.told(score)}"


def blends(chosen: Blend, others: Sequence[Blend], labels: np.ndarray, metric: Metric) -> Table:
    """Every blender beside the plain mean, and what was chosen."""
    table = Table("blend, cross-fitted", box=None)
    scores = columns(metric)
    for heading in (*(one.name for one in scores), "rows fixed", "broken", "p", "in accuracy"):
        table.add_column(heading, justify="right")
    mean = next(blend for blend in others if blend.blender == "mean")
    for blend in others:
        row = [blend.blender, *(one.told(one.score(labels, blend.oof)) for one in scores)]
        if blend is not mean:
            against = mcnemar(labels, mean.oof, blend.oof)
            verdict = "news" if against.is_news else "noise"
            row += [str(against.fixed), str(against.broken), f"{against.p_value:.2f}", verdict]
        table.add_row(*row)
    weights = zip(chosen.members, chosen.combination.weights, strict=True)
    picked = ", ".join(f"{name} {weight:.2f}" for name, weight in weights if weight >= WORTH_TELLING)
    told = f"submitted: {chosen.blender}, {scored(metric, metric.score(labels, chosen.oof))}; weights: {picked}"
    if chosen.blender != mean.blender:
        saved = plain(Score.of(row_log_loss(labels, mean.oof) - row_log_loss(labels, chosen.oof)))
        told += f"\nit saves {saved} of the mean's log loss, by which ways of blending are chosen"
    table.caption = told
    table.caption_justify = "left"
    return table


def advice(helps: Sequence[Help]) -> Table:
    """A row for each member, and what to train next."""
    table = Table("member", box=None, title="who helps, out of fold", title_justify="left")
    for heading in ("accuracy gained", "log loss saved", "errors shared", "another seed saves", "of log loss in"):
        table.add_column(heading, justify="right")
    for one in helps:
        gained = f"{100 * one.accuracy.value:+.3f} ± {100 * one.accuracy.standard_error:.3f}"
        saved = f"{one.log_loss.value:+.5f} ± {one.log_loss.standard_error:.5f}"
        table.add_row(one.member, gained, saved, f"{one.correlation:.2f}", f"{one.twin:.5f}", clock(60 * one.minutes))
    best = max(helps, key=lambda one: one.twin / (one.minutes + 1e-9))
    idle = [one.member for one in helps if one.log_loss.value < one.log_loss.standard_error]
    told = f"next, most for a minute: another seed of {best.member}"
    if len(helps) > 1:
        told += f"; an unlike model, as these bring in the mean: {unlike(helps):.5f}"
    if max(one.twin for one in helps) < WORTH_TRAINING:
        told = "another seed of any of them promises next to nothing: try an unlike model, or stop"
    table.caption = told + (f"; within noise and may be left out: {', '.join(idle)}" if idle else "")
    table.caption_justify = "left"
    return table


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


def ended(trial: "FrozenTrial") -> str:
    """What a trial came to."""
    from competition.trials import evidence_of

    if failure := trial.user_attrs.get("failure"):
        return f"failed, {failure}"
    folds = evidence_of(trial)
    loss = np.mean([one.losses for one in folds.values()])
    wrong, rows = (sum(getattr(one, name) for one in folds.values()) for name in ("wrong", "rows"))
    given_up = f", given up after fold {len(folds)}" if trial.state.name == "PRUNED" else ""
    return f"log loss {loss:.5f}, {wrong} of {rows} wrong{given_up}"


def tried(search: "Search", trial: "FrozenTrial", left: float) -> str:
    """A line for a trial that ended."""
    told = f"{search.member.kind} trial {trial.number}: {ended(trial)}"
    if complete := search.study.complete:
        told += f"; best {complete[0].value:.5f} (trial {complete[0].number})"
    given_up = sum(one.state.name == "PRUNED" for one in search.study.trials)
    return told + f"; {search.tried} of {search.total}, {given_up} given up; to go {clock(left)}"


def verdicts(search: "Search", found: "Sequence[Verdict]") -> Table:
    """A row for each finalist against the present settings."""
    table = Table("settings", box=None)
    for heading in ("log loss", "difference", "p", "needed", "wrong", ""):
        table.add_column(heading, justify="right")
    for one in found[:1]:
        table.add_row("present", f"{one.present:.5f}", "", "", "", str(one.present_wrong), "")
    for one in found:
        difference = f"{one.difference:+.5f} ± {one.standard_error:.5f}"
        row = f"{one.log_loss:.5f}", difference, f"{one.p_value:.4f}", f"{one.needed:.4f}", str(one.wrong)
        table.add_row(f"trial {one.trial}", *row, _verdict(one))
    named = {"present": search.study.present} | {f"trial {one.trial}": one.settings for one in found}
    values = (", ".join(f"{name} {value:.4g}" for name, value in chosen.items()) for chosen in named.values())
    table.caption = "\n".join(f"{name}: {told}" for name, told in zip(named, values, strict=True))
    table.caption_justify = "left"
    return table


def _verdict(one: "Verdict") -> str:
    if one.is_proved:
        return "proved"
    return "more are wrong" if one.p_value < one.needed else "noise"


def kept(entry: Entry) -> str:
    """What became of a submission."""
    card = entry.card
    told = [f"submission {entry.number}: {entry.file}"]
    if same := card["same_as"]:
        told.append(f"the same labels as submission {same[0]}: uploading it again would tell nothing new")
    elif differs := card["differs_from_the_one_before"]:
        examples = f", such as {', '.join(differs['such_as'])}" if differs["such_as"] else ""
        told.append(f"{differs['rows']} labels differ from the submission before{examples}")
    return "\n".join(told)


def next_step(folder: Path) -> str:
    """Where the score of a submission comes from."""
    verb = "grade" if is_embedded(folder) else "upload"
    told = f"next: make {verb} COMPETITION={shlex.quote(folder.name)}"
    if not is_embedded(folder):
        return told
    return f"{told}, once, at the end (practice rows; Kaggle's own: make submit COMPETITION={DIGITS})"


def against_leaderboard(entry: Entry, metric: Metric, value: float, rows: float) -> str:
    """Cross-validation's promise beside the leaderboard's word on so many rows: news or noise."""
    local = Score(*entry.card["score"])
    public = Score(value, local.standard_error * float(np.sqrt(entry.card["rows"] / rows)))
    difference = Score(value - local.value, float(np.hypot(local.standard_error, public.standard_error)))
    is_news = abs(difference.value) > 2 * difference.standard_error
    told = (
        f"submission {entry.number}: {metric.told(local)} out of fold, {metric.told(public)} on the leaderboard\n"
        f"difference {'+' if difference.value > 0 else ''}{metric.told(difference)}: "
        + ("news: look for a difference between train and test" if is_news else "noise")
    )
    if entry.card["origin"]["competition"] == DIGITS and value > TOO_GOOD:
        told += f"\nmore than {TOO_GOOD:.2%} smells of test answers that were trained on: look for a leak"
    return told


def effects(found: Sequence[Effect], classes: np.ndarray) -> Table:
    """A row for each change of the images."""
    table = Table("change", box=None)
    for heading in ("still right", "class hurt most", "taken for", "share", "safe"):
        table.add_column(heading, justify="right")
    for one in found:
        hurt, into = (str(classes[which]) if one.share else "" for which in (one.changed_class, one.into))
        verdict = "yes" if one.is_safe else "NO"
        table.add_row(one.change, f"{one.still_right:.1%}", hurt, into, f"{one.share:.1%}", verdict)
    return table


def finding(found: Finding, dataset: Dataset) -> str:
    """A line for one thing that was looked at."""
    verdict = "fine" if found.is_fine else "LOOK"
    examples = [" and ".join(image_name(dataset, image) for image in group) for group in found.shown[:EXAMPLES]]
    rows = f" (such as {', '.join(examples)})" if examples else ""
    return f"{verdict}  {found.what}: {found.told}{rows}"


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


def graded(grade: Grade) -> Table:
    """A grade, class by class."""
    table = Table("class", box=None)
    for heading in ("rows", "wrong", "accuracy"):
        table.add_column(heading, justify="right")
    for name, rows, wrong in grade.by_class:
        table.add_row(str(name), str(rows), str(wrong), f"{100 * (1 - wrong / rows):.2f} %")
    table.add_row("all", str(grade.rows), str(grade.wrong), percent(grade.accuracy))
    if grade.metric != ACCURACY:
        table.caption = f"{grade.metric.name}: {grade.metric.told(grade.score)}"
        table.caption_justify = "left"
    return table
