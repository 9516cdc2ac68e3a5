"""The top of the report: the score, what to expect of it, and what to do next."""

from html import escape

from competition.errors import command
from competition.scoring.losses import loss_name
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score, expected_score
from competition.views.next_steps import NextStep, next_steps
from competition.views.report.data import BLEND, ReportData

Z95 = 1.96  # standard errors on both sides of a score that contain 95 % of a normal distribution
CARD = '<section class="card" aria-label="{title}"><h2 class="label">{title}</h2>{content}</section>'


def summary(data: ReportData) -> str:
    """The cards with the score, the expected leaderboard score and the next steps."""
    cards = {"Score": _score(data), "What next": _next(data)}
    if data.public_rows:
        where = "held-back test labels" if data.is_practice else "the leaderboard"
        cards = {"Score": cards["Score"], f"Expected on {where}": _expectation(data), "What next": cards["What next"]}
    return "\n".join(CARD.format(title=title, content=content) for title, content in cards.items())


def format_value(metric: Metric, value: float) -> str:
    """A score without standard error and unit, with as many digits as with them."""
    return metric.format(Score(value, 0.0)).split(" ± ")[0]


def format_range(metric: Metric, score: Score) -> str:
    """The 95 % range of a score."""
    ends = [score.value + side * Z95 * score.standard_error for side in (-1, 1)]
    if metric.unit == "%":
        ends = [min(max(end, 0.0), 1.0) for end in ends]
    low, high = (format_value(metric, end) for end in ends)
    return f"{low} to {high} {metric.unit}".rstrip()


def _score(data: ReportData) -> str:
    score, metric = data.scores[BLEND], data.metric
    value, error = metric.format(score).split(" ± ")
    best = next((name for name in data.scores if name != BLEND), "")
    rows = f"{len(data.labels):,} training rows" + (" in groups" if data.groups is not None else "")
    single = len(data.members) == 1
    what = escape(best) if single else f"the blend of {len(data.members)} models ({escape(data.blend.blender)})"
    compared = "" if single else f" The best single model, {escape(best)}, has {metric.format(data.scores[best])}."
    return (
        f'<p class="big">{value} <small>± {error}</small></p><p><b>{escape(metric.name)}</b> of {what} on {rows}, '
        "each predicted by models that were not trained on it. "
        f"95&nbsp;% range: {format_range(metric, score)}.{compared}</p>"
    )


def _expectation(data: ReportData) -> str:
    score, metric = data.scores[BLEND], data.metric
    expected = expected_score(score, len(data.labels), data.public_rows)
    rows = f"{round(data.public_rows):,} {'test rows' if data.is_practice else 'public test rows'}"
    text = (
        f'<p class="big range">{format_range(metric, expected)}</p><p>In 95 of 100 cases the {escape(metric.name)} on '
        f"{rows} is in this range, if they are like the training rows.</p>"
    )
    if data.blend.refits:
        text += "<p>They are predicted by models trained on all training rows, which should be slightly better.</p>"
    column, place = ("held_back", "the held-back labels") if data.is_practice else ("leaderboard", "the leaderboard")
    if data.submission is not None and data.submission[column]:
        value = float(data.submission[column])
        is_inside = abs(value - score.value) <= Z95 * expected.standard_error
        position = '<b class="good">inside</b>' if is_inside else '<b class="bad">outside</b>'
        unit = f" {metric.unit}".rstrip()
        scored = f"Submission {data.submission['number']} scored {format_value(metric, value)}{unit} on {place}"
        return text + f"<p>{scored}: {position} the range.</p>"
    name = "grade" if data.is_practice else "upload"
    if data.submission is None:
        return text + "<p>No submission of this blend is logged.</p>"
    typed = command(name, competition=data.store.folder.name)
    return text + f"<p>To find out: <code>{escape(typed)}</code>{', once, at the end' if data.is_practice else ''}.</p>"


def _next(data: ReportData) -> str:
    steps = next_steps(data.contributions, loss_name(data.labels))
    return f'<ol class="steps">{"".join(_step(data, step) for step in steps)}</ol>'


def _step(data: ReportData, step: NextStep) -> str:
    shown = ""
    if step.members:
        shown = f"<br><code>{escape(data.submit_command(step.members))}</code>"
    return f"<li><b>{escape(step.action)}</b>: {escape(step.reason)}{shown}</li>"
