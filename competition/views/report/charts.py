"""The charts of the report, as Plotly takes them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.ensemble.blend import Blend
from competition.scoring.metrics import Metric, hits
from competition.scoring.significance import errors_shared

Figure = dict[str, Any]
BINS = 10  # of confidence


def all_of(
    members: Sequence[Predictions], blend: Blend, metric: Metric, dataset: Dataset, submissions: pd.DataFrame
) -> dict[str, Figure]:
    """Every chart by the name of its place on the page."""
    labels, names = dataset.labels, [str(name) for name in dataset.classes]
    predictors = [*((one.member, one.oof) for one in members), ("blend", blend.oof)]
    found = {"scores": scores(predictors, labels, metric)}
    if any(curve for member in members for curve in member.curves):
        found["learning"] = learning(members)
    found |= {
        "reliability": reliability(predictors, labels),
        "shares": class_shares(labels, blend.test, names),
    }
    if len(members) > 1:
        found["correlation"] = correlation(predictors[:-1], labels)
    submissions = submissions[submissions["metric"] == metric.name]
    if len(submissions):
        found["history"] = history(submissions, metric, len(labels) / len(dataset.test_ids))
    return {name: json.loads(figure.to_json()) for name, figure in found.items()}


def scores(predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray, metric: Metric) -> Any:
    """Each predictor's score with its standard error, the best on top."""
    from plotly import graph_objects as go

    scored = [(metric.score(labels, said), name) for name, said in predictors]
    scored.sort(key=lambda one: metric.sign * one[0].value)
    error = {"type": "data", "array": [metric.scale * score.standard_error for score, _ in scored]}
    values, names = [metric.scale * score.value for score, _ in scored], [name for _, name in scored]
    dots = go.Scatter(x=values, y=names, error_x=error, mode="markers", marker={"size": 9})
    title = f"{metric.name[0].upper()}{metric.name[1:]} out of fold, ± one standard error"
    return _titled(go.Figure(dots), title, metric.unit, None)


def learning(members: Sequence[Predictions]) -> Any:
    """Log loss of every network and fold after each epoch, on rows that taught it and rows that did not."""
    from plotly import graph_objects as go
    from plotly.colors import qualitative

    figure = go.Figure()
    networks = [member for member in members if any(member.curves)]
    for number, member in enumerate(networks):
        colour = qualitative.D3[number % len(qualitative.D3)]
        for fold, curve in enumerate(member.curves):
            epochs = [point.epoch for point in curve]
            for kind, dash in (("held_out", "solid"), ("taught", "dot")):
                losses, right = (
                    [getattr(point, f"{kind}_{what}") for point in curve] for what in ("log_loss", "accuracy")
                )
                figure.add_scatter(
                    x=epochs,
                    y=[round(loss, 5) for loss in losses],
                    text=[
                        f"{member.member} fold {fold}, {kind.replace('_', '-')} rows: {share:.1%} right"
                        for share in right
                    ],
                    hoverinfo="text+y",
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 1.5},
                    legendgroup=f"{member.member} {kind}",
                    name=f"{member.member}, {kind.replace('_', '-')} rows",
                    showlegend=fold == 0,
                )
    figure.update_yaxes(type="log")
    return _titled(figure, "How the networks learned, fold by fold", "epoch", "log loss")


def reliability(predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray) -> Any:
    """How often each predictor is right where it is so sure; off the diagonal lies its calibration error."""
    from plotly import graph_objects as go

    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot"}, name="as it should be"))
    for name, said in predictors:
        sure, right = said.max(axis=1), hits(labels, said)
        place = np.minimum((sure * BINS).astype(int), BINS - 1)
        count = np.bincount(place, minlength=BINS)
        known = count > 0
        mean_sure, mean_right = (
            np.bincount(place, weights, minlength=BINS)[known] / count[known] for weights in (sure, right)
        )
        error = float(np.sum(count[known] * np.abs(mean_sure - mean_right)) / len(labels))
        shown = "legendonly" if name != "blend" and len(predictors) > 4 else True
        figure.add_scatter(
            x=mean_sure.tolist(),
            y=mean_right.tolist(),
            mode="lines+markers",
            name=f"{name}, off by {error:.3f}",
            visible=shown,
        )
    return _titled(figure, "How sure against how often right", "probability of the likeliest class", "share right")


def correlation(predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray) -> Any:
    """How far errors are shared, pair by pair."""
    from plotly import graph_objects as go

    names = [name for name, _ in predictors]
    table = errors_shared(np.stack([hits(labels, said) for _, said in predictors]))
    heat = go.Heatmap(
        x=names, y=names, z=table.round(3).tolist(), zmin=0, zmax=1, colorscale="Blues", texttemplate="%{z:.2f}"
    )
    return _titled(go.Figure(heat), "Errors shared: 1 the same rows, 0 unrelated", None, None)


def class_shares(labels: np.ndarray, test: np.ndarray, names: Sequence[str]) -> Any:
    """How often each class is in the training rows and among the test predictions."""
    from plotly import graph_objects as go

    figure = go.Figure()
    for which, rows in (("training labels", labels), ("test predictions", test.argmax(axis=1))):
        shares = 100 * np.bincount(rows, minlength=len(names)) / len(rows)
        figure.add_bar(x=list(names), y=shares.tolist(), name=which)
    figure.update_xaxes(type="category")
    return _titled(figure, "Shares of the classes", None, "%")


def history(submissions: pd.DataFrame, metric: Metric, share: float) -> Any:
    """Every submission's score out of fold and what it got, where that is known, each with its noise.

    There are `share` times as many training rows as test rows.
    """
    from plotly import graph_objects as go

    figure = go.Figure()
    for column, name in (("local", "out of fold"), ("sealed", "sealed"), ("leaderboard", "leaderboard")):
        known = submissions[submissions[column] != ""]
        values = known[column].astype(float).to_numpy()
        errors = known["local_error"].astype(float).to_numpy()
        if column != "local":
            errors = errors * np.sqrt(share)
        bars = {"type": "data", "array": (metric.scale * errors).tolist()}
        numbers, shown = known["number"].tolist(), (metric.scale * values).tolist()
        if numbers:
            figure.add_scatter(x=numbers, y=shown, error_y=bars, mode="markers", name=name, marker={"size": 9})
    figure.update_xaxes(type="category")
    return _titled(figure, "Submissions: promised and got", "number", metric.unit)


def _titled(figure: Any, title: str, x: str | None, y: str | None) -> Any:
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="none", margin={"l": 70, "r": 10, "t": 50})
    return figure
