"""What predictions are worth: members, blends, and who helps."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from competition.crossval.predictions import Predictions
from competition.crossval.progress import clock
from competition.ensemble.advice import Help, unlike
from competition.ensemble.blend import Blend
from competition.scoring.metrics import ACCURACY, Metric, columns, ranking, row_log_loss
from competition.scoring.score import Score, plain
from competition.scoring.significance import mcnemar

WORTH_TRAINING = 1e-4  # of log loss
WORTH_TELLING = 0.005  # of a weight


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
