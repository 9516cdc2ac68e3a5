"""Scores of members and blends, and the contribution of each member."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from competition.crossval.predictions import Predictions
from competition.crossval.progress import format_duration
from competition.data.targets import target_kind
from competition.ensemble.advice import Contribution
from competition.ensemble.blend import Blend
from competition.scoring.losses import loss_name, row_losses
from competition.scoring.metrics import ACCURACY, Metric, displayed_metrics, rank_members
from competition.scoring.significance import mcnemar_test
from competition.scoring.standard_error import Score, format_score
from competition.views.next_steps import next_steps

MIN_SHOWN_WEIGHT = 0.005  # blend weight below which a member is not listed


def score_table(
    members: Sequence[Predictions],
    labels: np.ndarray,
    metric: Metric,
    groups: np.ndarray | None = None,
    from_columns: Sequence[str] = (),
    submitted: Mapping[str, np.ndarray] | None = None,
) -> Table:
    """A row for each complete member, best first; `from_columns` names those that do not see the images.

    `submitted` are out-of-fold predictions of each member with the labels that it would submit, if given.
    """
    table = Table("model", box=None)
    for heading in (*(shown.name for shown in displayed_metrics(metric, labels)), "CPU time"):
        table.add_column(heading, justify="right")
    seconds = {member.member: format_duration(member.seconds) for member in members}
    predictions = {member.member: member.oof for member in members}
    for name, scores in rank_members(predictions, labels, metric, groups, submitted).items():
        table.add_row(name, *scores, seconds[name])
    if listed := [name for name in seconds if name in from_columns]:
        table.caption = f"trained on the columns alongside the images: {', '.join(listed)}"
        table.caption_justify = "left"
    return table


def format_metric(metric: Metric, score: Score) -> str:
    """The score, preceded by the metric's name unless it is accuracy."""
    return metric.format(score) if metric == ACCURACY else f"{metric.name} {metric.format(score)}"


def blend_table(
    chosen: Blend,
    others: Sequence[Blend],
    labels: np.ndarray,
    metric: Metric,
    groups: np.ndarray | None = None,
    is_submitted: bool = True,
) -> Table:
    """A row for each blender, compared with the mean, and the blend that was chosen."""
    table = Table("blend (cross-fitted)", box=None)
    metrics, has_errors = displayed_metrics(metric, labels), target_kind(labels) != "number"
    comparison = ("corrected", "newly wrong", "p", "significance") if has_errors else ()
    for heading in (*(shown.name for shown in metrics), *comparison):
        table.add_column(heading, justify="right")
    mean = next(blend for blend in others if blend.blender == "mean")
    for blend in others:
        scored = ((each, each.select_predictions(blend.oof, blend.submitted_oof)) for each in metrics)
        row = [blend.blender, *(each.format(each.score(labels, oof, groups)) for each, oof in scored)]
        if blend is not mean and has_errors:
            test = mcnemar_test(labels, mean.submitted_oof, blend.submitted_oof)
            significance = "significant" if test.is_significant else "not significant"
            row += [str(test.corrected), str(test.newly_wrong), f"{test.p_value:.2f}", significance]
        table.add_row(*row)
    weights = zip(chosen.members, chosen.combination.weights, strict=True)
    listed = ", ".join(f"{name} {weight:.2f}" for name, weight in weights if weight >= MIN_SHOWN_WEIGHT)
    score = format_metric(metric, metric.score(labels, chosen.submitted_oof, groups))
    caption = f"{'submitted' if is_submitted else 'selected'}: {chosen.blender}, {score}; weights: {listed}"
    if chosen.blender != mean.blender:
        losses = row_losses(labels, mean.oof) - row_losses(labels, chosen.oof)
        saved, name = format_score(Score.from_rows(losses, groups)), loss_name(labels)
        caption += f"\nits {name} is {saved} lower than the mean's; blenders are selected by {name}"
    if chosen.decision:
        most_probable = metric.format(metric.score(labels, chosen.oof, groups))
        caption += f"\nits labels have the highest expected {metric.name}; the most probable ones score {most_probable}"
    table.caption = caption
    table.caption_justify = "left"
    return table


def contribution_table(contributions: Sequence[Contribution], loss: str) -> Table:
    """A row for each member, and what to train next; `loss` is its name."""
    title = "contribution to the blend (leave-one-out, out of fold)"
    table = Table("member", box=None, title=title, title_justify="left")
    has_accuracy = contributions[0].accuracy_gain is not None
    accuracy = ("accuracy gain",) if has_accuracy else ()
    for heading in (*accuracy, f"{loss} reduction", "error correlation", "reduction by another seed", "CPU time"):
        table.add_column(heading, justify="right")
    for member in contributions:
        gained = (format_gain(member.accuracy_gain),) if member.accuracy_gain else ()
        saved = f"{member.loss_reduction.value:+.5f} ± {member.loss_reduction.standard_error:.5f}"
        correlation, gain = f"{member.error_correlation:.2f}", member.expected_gain_of_new_seed
        another_seed = "" if gain is None else f"{gain:.5f}"
        table.add_row(member.member, *gained, saved, correlation, another_seed, format_duration(60 * member.minutes))
    table.caption = "next: " + "\n      ".join(map(str, next_steps(contributions, loss)))
    table.caption_justify = "left"
    return table


def format_gain(gain: Score) -> str:
    """A gain of accuracy in percentage points."""
    return f"{100 * gain.value:+.3f} ± {100 * gain.standard_error:.3f}"
