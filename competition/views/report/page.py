"""The HTML report of cross-validation: a single file that needs no network."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plotly.offline import get_plotlyjs
from sklearn.metrics import confusion_matrix

from competition.crossval.predictions import Predictions
from competition.crossval.progress import clock
from competition.crossval.store import Store
from competition.data.targets import target_kind
from competition.ensemble.advice import Contribution
from competition.ensemble.blend import Blend
from competition.files import write_atomically
from competition.scoring.metrics import Metric, leaderboard_metrics, rank_members
from competition.scoring.standard_error import repeated_groups
from competition.views.html import render_page
from competition.views.report.charts import make_charts
from competition.views.report.gallery import hardest_rows
from competition.views.terminal.scores import format_gain

PAGE = Path(__file__).parent / "page.html"
CONFUSION = """<h2>Confusion matrix</h2>
<p>Rows of each true class by the class that the blend predicts, and their share of the true class. Click a number to
see its images below, if they are among the hardest rows.</p>
<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix">{table}</div>"""
LIBRARIES = ("tensorflow", "keras", "scikit-learn", "numpy", "optuna")


@dataclass(frozen=True)
class ReportData:
    """What the report shows."""

    members: Sequence[Predictions]
    blend: Blend
    metric: Metric
    contributions: Sequence[Contribution]
    submissions: pd.DataFrame  # rows of the submission log
    recipes: Mapping[str, str]  # by member


def write_report(path: Path, store: Store, data: ReportData) -> Path:
    """Write the report and return its path."""
    dataset, members, blend, metric = store.dataset, data.members, data.blend, data.metric
    names = [str(name) for name in dataset.classes] if target_kind(dataset.labels) == "class" else []
    groups = repeated_groups(dataset.groups)
    figures = make_charts(members, blend, metric, dataset, data.submissions)
    score = metric.format(metric.score(dataset.labels, blend.oof, groups))
    recipes = [(member.member, member.fingerprint[:16], data.recipes.get(member.member, "")) for member in members]
    text = render_page(
        PAGE,
        escape(f"{store.folder.name}: {metric.name} {score} out of fold"),
        blender=blend.blender,
        leaderboard=_leaderboard(data, dataset.labels, groups),
        confusion=CONFUSION.format(table=_confusion(dataset.labels, blend.oof, names)) if names else "",
        charts="".join(f'<figure><div class="chart" id="{name}"></div></figure>' for name in figures),
        figures=_json(figures),
        hard=_json(hardest_rows(members, blend, dataset)),
        classes=_json(names),
        members=_json([member.member for member in members]),
        facts=_table(("property", "value"), _provenance(store)),
        recipes=_table(("member", "fingerprint", "recipe"), recipes),
        plotly=get_plotlyjs(),
    )
    write_atomically(path, text.encode())
    return path


def _provenance(store: Store) -> list[tuple[str, str]]:
    dataset = store.dataset
    rows = f"{len(dataset.labels):,} training rows, {len(dataset.test_ids):,} test rows"
    return [
        ("competition", store.folder.name),
        ("split", f"{store.folds.name}, {store.folds.digest[:12]}"),
        ("data", f"{rows}, {dataset.digest[:12]}"),
        ("python", platform.python_version()),
        ("machine", f"{platform.system()} {platform.machine()}"),
        *((library, version(library)) for library in LIBRARIES),
    ]


def _leaderboard(data: ReportData, labels: np.ndarray, groups: np.ndarray | None) -> str:
    """The blend, then every member with its weight and contribution, best first."""
    members, blend, metric = data.members, data.blend, data.metric
    weights = dict(zip(blend.members, blend.combination.weights, strict=True))
    gains = {gain.member: format_gain(gain.accuracy_gain) for gain in data.contributions if gain.accuracy_gain}
    blend_name = f"blend ({blend.blender})"
    predictions = {blend_name: blend.oof} | {member.member: member.oof for member in members}
    scores = rank_members(predictions, labels, metric, groups)
    rows = [(blend_name, *scores.pop(blend_name), "", "", "")]
    seconds = {member.member: clock(member.seconds) for member in members}
    for name, member_scores in scores.items():
        rows.append((name, *member_scores, f"{weights[name]:.2f}", gains.get(name, ""), seconds[name]))
    headings = (shown.name for shown in leaderboard_metrics(metric, labels))
    return _table(("model", *headings, "weight", "accuracy gained (points)", "CPU time"), rows)


def _confusion(labels: np.ndarray, oof: np.ndarray, names: Sequence[str]) -> str:
    """Counts and shares of each true class by predicted class; an error count is a button that shows its images."""
    counts = confusion_matrix(labels, oof.argmax(axis=1), labels=np.arange(len(names)))
    most = max(1, int((counts - np.diag(counts.diagonal())).max()))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for true, row in enumerate(counts):
        cells = []
        for predicted, count in enumerate(row.tolist()):
            if true == predicted:
                cells.append(f'<td class="correct">{count:,}<small>{count / max(1, row.sum()):.2%}</small></td>')
            elif count:
                text = escape(f"{count} of class {names[true]} predicted as {names[predicted]}")
                shade = f"--shade: {0.15 + 0.6 * count / most:.2f}"
                target = f'data-true="{true}" data-predicted="{predicted}"'
                button = f'<button {target} aria-label="{text}">{count}</button>'
                cells.append(f'<td style="{shade}">{button}<small>{count / row.sum():.2%}</small></td>')
            else:
                cells.append("<td></td>")
        rows.append(f'<tr><th scope="row">{escape(names[true])}</th>{"".join(cells)}</tr>')
    return f'<table class="confusion"><tr><th scope="col">true</th>{head}</tr>{"".join(rows)}</table>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Encode a value for a script element, which `</` inside a string would end."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
