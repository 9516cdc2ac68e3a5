"""The page that shows what cross-validation found: one file that opens from disk, without a network."""

import json
import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from competition.crossval.predictions import Predictions
from competition.crossval.progress import clock
from competition.crossval.store import Store
from competition.ensemble.advice import Help
from competition.ensemble.blend import Blend
from competition.files import write_whole
from competition.scoring.metrics import Metric, columns, ranking
from competition.views.html import page
from competition.views.report import charts, gallery

PAGE = Path(__file__).parent / "page.html"
LIBRARIES = ("tensorflow", "keras", "scikit-learn", "numpy", "optuna")


def write(
    path: Path,
    store: Store,
    members: Sequence[Predictions],
    blend: Blend,
    metric: Metric,
    helps: Sequence[Help],
    submissions: pd.DataFrame,
    settings: Mapping[str, str],
) -> Path:
    """Write the page of these members, trained with these settings, and of their blend."""
    from plotly.offline import get_plotlyjs

    dataset = store.dataset
    labels, names = dataset.labels, [str(name) for name in dataset.classes]
    figures = charts.all_of(members, blend, metric, dataset, submissions)
    hard = gallery.hard_rows(members, blend, dataset)
    facts = {
        "competition": store.folder.name,
        "split": f"{store.folds.name}, {store.folds.digest[:12]}",
        "data": f"{len(labels):,} training rows, {len(dataset.test_ids):,} test rows, {dataset.digest[:12]}",
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{library: version(library) for library in LIBRARIES},
    }
    text = page(
        PAGE,
        escape(f"{store.folder.name}: {metric.name} {metric.told(metric.score(labels, blend.oof))} out of fold"),
        blender=blend.blender,
        leaderboard=_leaderboard(members, blend, metric, helps, labels),
        confusion=_confusion(labels, blend.oof, names),
        charts="".join(f'<figure><div class="chart" id="{name}"></div></figure>' for name in figures),
        figures=_json(figures),
        hard=_json(hard),
        classes=_json(names),
        members=_json([member.member for member in members]),
        facts=_table(("what", "how"), list(facts.items())),
        made_by=_table(
            ("member", "fingerprint", "settings"),
            [(one.member, one.fingerprint[:16], settings.get(one.member, "")) for one in members],
        ),
        plotly=get_plotlyjs(),
    )
    write_whole(path, text.encode())
    return path


def _leaderboard(
    members: Sequence[Predictions], blend: Blend, metric: Metric, helps: Sequence[Help], labels: np.ndarray
) -> str:
    """The blend and every member with its share, the best first."""
    weights = dict(zip(blend.members, blend.combination.weights, strict=True))
    gains = {one.member: f"{100 * one.accuracy.value:+.3f} ± {100 * one.accuracy.standard_error:.3f}" for one in helps}
    whole = f"blend ({blend.blender})"
    told = ranking({whole: blend.oof} | {one.member: one.oof for one in members}, labels, metric)
    rows = [(whole, *told.pop(whole), "", "", "")]
    seconds = {one.member: clock(one.seconds) for one in members}
    for name, scores in told.items():
        rows.append((name, *scores, f"{weights[name]:.2f}", gains.get(name, ""), seconds[name]))
    heads = (one.name for one in columns(metric))
    return _table(("model", *heads, "weight", "brings, in points", "training"), rows)


def _confusion(labels: np.ndarray, oof: np.ndarray, names: Sequence[str]) -> str:
    """Counts and shares of true classes by taken ones; a wrong cell is a button that shows its pictures."""
    k = len(names)
    counts = np.bincount(labels * k + oof.argmax(axis=1), minlength=k * k).reshape(k, k)
    most = max(1, int((counts - np.diag(counts.diagonal())).max()))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for true, row in enumerate(counts):
        cells = []
        for taken, count in enumerate(row.tolist()):
            if true == taken:
                cells.append(f'<td class="right">{count:,}<small>{count / max(1, row.sum()):.2%}</small></td>')
            elif count:
                told = f"{count} of class {names[true]} taken for {names[taken]}"
                shade = f"--shade: {0.15 + 0.6 * count / most:.2f}"
                button = f'<button data-true="{true}" data-taken="{taken}" aria-label="{escape(told)}">{count}</button>'
                cells.append(f'<td style="{shade}">{button}<small>{count / row.sum():.2%}</small></td>')
            else:
                cells.append("<td></td>")
        rows.append(f'<tr><th scope="row">{escape(names[true])}</th>{"".join(cells)}</tr>')
    return f'<table class="confusion"><tr><th scope="col">true</th>{head}</tr>{"".join(rows)}</table>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def _json(what: Mapping | Sequence) -> str:
    """For a script element, which an inner `</` would end."""
    return json.dumps(what, separators=(",", ":")).replace("</", "<\\/")
