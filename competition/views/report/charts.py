"""Charts of the report as Plotly figures."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly import graph_objects as go
from plotly.colors import qualitative

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.data.targets import target_kind
from competition.ensemble.blend import Blend
from competition.scoring.losses import is_correct, row_errors
from competition.scoring.metrics import Metric
from competition.scoring.multilabel import has_empty_sets, select_labels
from competition.scoring.significance import error_correlation
from competition.scoring.standard_error import repeated_groups

Figure = dict[str, Any]
BINS = 10  # of the reliability diagram
MAX_SHOWN = 4  # predictors that the reliability diagram shows at first; the legend shows the others on click


def make_charts(
    members: Sequence[Predictions], blend: Blend, metric: Metric, dataset: Dataset, submissions: pd.DataFrame
) -> dict[str, Figure]:
    """Every chart by the id of its element on the page."""
    labels, names, kind = dataset.labels, [str(name) for name in dataset.classes], target_kind(dataset.labels)
    predictors = [*((member.member, member.oof) for member in members), ("blend", blend.oof)]
    figures = {"scores": score_chart(predictors, labels, metric, repeated_groups(dataset.groups))}
    if any(curve for member in members for curve in member.curves):
        figures["learning"] = learning_curves(members, "RMSE" if kind == "number" else "log loss")
    if kind != "number":
        figures["reliability"] = reliability_diagram(predictors, labels)
        figures["shares"] = class_share_chart(labels, blend.test, names)
    if len(members) > 1:
        figures["correlation"] = correlation_heatmap(predictors[:-1], labels)
    submissions = submissions[submissions["metric"] == metric.name]
    if len(submissions):
        figures["history"] = submission_history(submissions, metric, len(labels) / len(dataset.test_ids))
    return {name: json.loads(figure.to_json()) for name, figure in figures.items()}


def score_chart(
    predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray, metric: Metric, groups: np.ndarray | None = None
) -> Any:
    """Each predictor's score with its standard error, best on top."""
    scores = [(metric.score(labels, probabilities, groups), name) for name, probabilities in predictors]
    scores.sort(key=lambda pair: metric.sign * pair[0].value)
    error = {"type": "data", "array": [metric.scale * score.standard_error for score, _ in scores]}
    values, names = [metric.scale * score.value for score, _ in scores], [name for _, name in scores]
    dots = go.Scatter(x=values, y=names, error_x=error, mode="markers", marker={"size": 9})
    title = f"{metric.name[0].upper()}{metric.name[1:]} out of fold, ± one standard error"
    return _add_titles(go.Figure(dots), title, metric.unit, None)


def learning_curves(members: Sequence[Predictions], loss: str) -> Any:
    """Log loss or RMSE of each network and fold after every epoch, on training and held-out rows."""
    figure = go.Figure()
    networks = [member for member in members if any(member.curves)]
    for number, member in enumerate(networks):
        colour = qualitative.D3[number % len(qualitative.D3)]
        for fold, curve in enumerate(member.curves):
            epochs = [point.epoch for point in curve]
            for kind, dash in (("held_out", "solid"), ("train", "dot")):
                losses, accuracies = (
                    [getattr(point, f"{kind}_{name}") for point in curve] for name in ("log_loss", "accuracy")
                )
                rows = {"train": "training rows", "held_out": "held-out rows"}[kind]
                figure.add_scatter(
                    x=epochs,
                    y=[round(loss, 5) for loss in losses],
                    text=[
                        f"{member.member} fold {fold}, {rows}"
                        + ("" if accuracy is None else f": accuracy {accuracy:.1%}")
                        for accuracy in accuracies
                    ],
                    hoverinfo="text+y",
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 1.5},
                    legendgroup=f"{member.member} {kind}",
                    name=f"{member.member}, {rows}",
                    showlegend=fold == 0,
                )
    figure.update_yaxes(type="log")
    return _add_titles(figure, "Learning curves of the networks, by fold", "epoch", loss)


def reliability_diagram(predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray) -> Any:
    """Accuracy by confidence, in equal bins; the legend has the expected calibration error (ECE).

    Of several labels, the frequency of each by its probability.
    """
    is_multilabel = target_kind(labels) == "labels"
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot"}, name="perfectly calibrated"))
    for name, probabilities in predictors:
        if is_multilabel:
            confidence, correct = probabilities.ravel(), labels.ravel().astype(float)
        else:
            confidence, correct = probabilities.max(axis=1), is_correct(labels, probabilities)
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count = np.bincount(bins, minlength=BINS)
        filled = count > 0
        mean_confidence, accuracy = (
            np.bincount(bins, weights, minlength=BINS)[filled] / count[filled] for weights in (confidence, correct)
        )
        error = float(np.sum(count[filled] * np.abs(mean_confidence - accuracy)) / len(confidence))
        visible = "legendonly" if name != "blend" and len(predictors) > MAX_SHOWN else True
        figure.add_scatter(
            x=mean_confidence.tolist(),
            y=accuracy.tolist(),
            mode="lines+markers",
            name=f"{name}, ECE {error:.3f}",
            visible=visible,
        )
    if is_multilabel:
        return _add_titles(figure, "Reliability diagram", "probability of a label", "frequency")
    return _add_titles(figure, "Reliability diagram", "confidence (probability of the predicted class)", "accuracy")


def correlation_heatmap(predictors: Sequence[tuple[str, np.ndarray]], labels: np.ndarray) -> Any:
    """Error correlation of each pair of predictors."""
    names = [name for name, _ in predictors]
    table = error_correlation(np.stack([row_errors(labels, probabilities) for _, probabilities in predictors]))
    heat = go.Heatmap(
        x=names, y=names, z=table.round(3).tolist(), zmin=0, zmax=1, colorscale="Blues", texttemplate="%{z:.2f}"
    )
    return _add_titles(go.Figure(heat), "Error correlation (1: errors on the same rows, 0: independent)", None, None)


def class_share_chart(labels: np.ndarray, test: np.ndarray, names: Sequence[str]) -> Any:
    """Share of each class in the training labels and in the test predictions."""
    figure = go.Figure()
    if target_kind(labels) == "labels":
        training, predicted = labels, select_labels(test, has_empty_sets(labels))
    else:
        training, predicted = (np.eye(len(names))[classes] for classes in (labels, test.argmax(axis=1)))
    for title, rows in (("training labels", training), ("test predictions", predicted)):
        shares = 100 * rows.mean(axis=0)
        figure.add_bar(x=list(names), y=shares.tolist(), name=title)
    figure.update_xaxes(type="category")
    return _add_titles(figure, "Class distribution", None, "%")


def submission_history(submissions: pd.DataFrame, metric: Metric, rows_ratio: float) -> Any:
    """Out-of-fold, held-back and leaderboard scores of each submission, with standard errors.

    `rows_ratio` is the number of training rows divided by that of test rows.
    """
    figure = go.Figure()
    for column, name in (("cv", "out of fold"), ("held_back", "held-back labels"), ("leaderboard", "leaderboard")):
        known = submissions[submissions[column] != ""]
        values = known[column].astype(float).to_numpy()
        errors = known["cv_standard_error"].astype(float).to_numpy()
        if column != "cv":
            errors = errors * np.sqrt(rows_ratio)
        bars = {"type": "data", "array": (metric.scale * errors).tolist()}
        numbers, scores = known["number"].tolist(), (metric.scale * values).tolist()
        if numbers:
            figure.add_scatter(x=numbers, y=scores, error_y=bars, mode="markers", name=name, marker={"size": 9})
    figure.update_xaxes(type="category")
    return _add_titles(figure, "Submissions: cross-validated and test scores", "submission", metric.unit)


def _add_titles(figure: Any, title: str, x: str | None, y: str | None) -> Any:
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="none", margin={"l": 70, "r": 10, "t": 50})
    return figure
