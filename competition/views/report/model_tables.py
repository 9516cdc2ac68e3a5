"""The report's tables of models: scores, contributions, error correlations and calibration."""

from collections.abc import Sequence
from html import escape

import numpy as np

from competition.crossval.progress import format_duration
from competition.ensemble.advice import Contribution
from competition.scoring.losses import loss_name, row_errors
from competition.scoring.metrics import displayed_metrics
from competition.scoring.significance import error_correlation
from competition.views.html import html_table
from competition.views.report.charts import calibration_error, confidences, interval_plot
from competition.views.report.data import BLEND, ReportData
from competition.views.terminal.scores import format_gain


def models_table(data: ReportData) -> str:
    """The blend and every member, best first: scores, weight, contribution and time."""
    weights = dict(zip(data.blend.members, data.blend.combination.weights.tolist(), strict=True))
    gains = {each.member: each for each in data.contributions}
    members = {member.member: member for member in data.members}
    reference, others = data.scores[BLEND], displayed_metrics(data.metric, data.labels)[1:]
    sides = [score.value + side * score.standard_error for score in data.scores.values() for side in (-1, 1)]
    ends = min(sides), max(sides)
    rows = []
    for name, score in data.scores.items():
        label = f"blend <small>{escape(data.blend.blender)}</small>" if name == BLEND else escape(name)
        cells = [("", interval_plot(score, reference, data.metric, ends))]
        cells.append((data.metric.name, f"<b>{data.metric.format(score)}</b>"))
        cells += [(metric.name, metric.format(data.score(metric, name))) for metric in others]
        if data.contributions:
            cells.append(("contribution", _gain(gains[name], data) if name in gains else ""))
            cells.append(("weight", _weight(weights[name]) if name in weights else ""))
        cells.append(("CPU time", format_duration(members[name].seconds) if name in members else ""))
        rows.append((label, name == BLEND, cells))
    head = ["model", "± one standard error", *(label for label, _ in rows[0][2][1:])]
    return _stacked_table("Models", head, rows)


def _gain(member: Contribution, data: ReportData) -> str:
    """What the blend loses without a member, grey if that is within the standard error."""
    loss = member.loss_reduction
    saved = f"{loss.value:+.5f} ± {loss.standard_error:.5f} {loss_name(data.labels)}"
    text = f"{format_gain(member.accuracy_gain)} points<small>{saved}</small>" if member.accuracy_gain else saved
    return f'<span class="{"gain" if member.is_measurable else "faint"}">{text}</span>'


def _weight(weight: float) -> str:
    bar = f'<span class="bar"><i style="width: {100 * weight:.0f}%"></i></span>'
    return f'<span class="weight">{weight:.2f} {bar}</span>'


def _stacked_table(name: str, head: Sequence[str], rows: Sequence[tuple[str, bool, Sequence[tuple[str, str]]]]) -> str:
    """A table of HTML whose rows become cards on narrow screens; roles keep it a table there for screen readers."""
    titles = "".join(f'<th scope="col" role="columnheader">{escape(title)}</th>' for title in head)
    body = "".join(
        f'<tr role="row"{" class=blend" if is_blend else ""}><th scope="row" role="rowheader">{first}</th>'
        + "".join(
            f'<td role="cell" data-label="{escape(label)}">{cell}</td>' if cell else '<td role="cell"></td>'
            for label, cell in cells
        )
        + "</tr>"
        for first, is_blend, cells in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}"><table class="full stack" role="table">'
        f'<thead role="rowgroup"><tr role="row">{titles}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def correlation_table(data: ReportData) -> str:
    """Correlation of the errors of each pair of members, shaded."""
    errors = np.stack([row_errors(data.labels, member.oof) for member in data.members])
    names = [escape(member.member) for member in data.members]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(
            '<td class="self"></td>'
            if column == row
            else f'<td style="--shade: {max(0, value) / 2:.2f}">{value:.2f}</td>'
            for column, value in enumerate(values)
        )
        + "</tr>"
        for row, (name, values) in enumerate(zip(names, error_correlation(errors).tolist(), strict=True))
    )
    table = f'<table class="heat cool long"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide" tabindex="0" role="region" aria-label="Error correlation">{table}</div>'


def calibration_table(data: ReportData) -> str:
    """Mean confidence, share correct and expected calibration error of each predictor."""
    rows = []
    for name in data.scores:
        confidence, correct = confidences(data.labels, data.predictions[name])
        error = f"{100 * calibration_error(confidence, correct):.2f}"
        rows.append((name, f"{confidence.mean():.2%}", f"{correct.mean():.2%}", error))
    names = ("mean probability", "frequency") if data.kind == "labels" else ("mean confidence", "accuracy")
    return html_table("Calibration of each model", ("model", *names, "error"), rows, "full")
