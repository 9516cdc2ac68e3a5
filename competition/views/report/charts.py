"""Charts of the report, each with a table of its values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from competition.crossval.predictions import CurvePoint, Predictions
from competition.data.targets import target_kind
from competition.scoring.losses import is_correct
from competition.scoring.metrics import Metric
from competition.scoring.standard_error import Score
from competition.views.html import figure, html_table
from competition.views.report.svg import Axis, Plot, linear_axis, log_axis, logit_axis

# The bins become narrower towards 0 and 1, where most probabilities are.
BIN_EDGES = np.array([0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1])
LIMIT = 1e-4  # probabilities nearer to 0 or 1 are drawn at the edge of the diagram
MIN_SHOWN_LOSS = 1e-4  # smaller ones are drawn at the edge
MAX_POINTS = 1000  # of a scatter plot


@dataclass(frozen=True)
class Bin:
    """Predictions with a similar confidence."""

    low: float
    high: float
    count: int
    confidence: float  # mean
    frequency: float  # of correct predictions
    interval: tuple[float, float]  # of the frequency, 95 %

    @property
    def is_calibrated(self) -> bool:
        """Whether the frequency agrees with the confidence."""
        return self.interval[0] <= self.confidence <= self.interval[1]


def confidences(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confidence of each prediction and whether it is correct; of several labels, the probability of each."""
    if target_kind(labels) == "labels":
        return probabilities.ravel(), labels.ravel().astype(float)
    return probabilities.max(axis=1), is_correct(labels, probabilities)


def calibration_bins(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """The bins that contain predictions."""
    from scipy.stats import binomtest

    numbers, bins = np.digitize(confidence, BIN_EDGES[1:-1]), []
    for number in np.unique(numbers).tolist():
        rows = numbers == number
        count, right = int(rows.sum()), int(correct[rows].sum())
        interval = binomtest(right, count).proportion_ci(method="wilson")
        low, high = BIN_EDGES[number : number + 2].tolist()
        ends = float(interval.low), float(interval.high)
        bins.append(Bin(low, high, count, float(confidence[rows].mean()), right / count, ends))
    return bins


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: the mean difference between confidence and frequency, over the bins."""
    bins = calibration_bins(confidence, correct)
    return sum(each.count * abs(each.confidence - each.frequency) for each in bins) / len(confidence)


def reliability_diagram(labels: np.ndarray, probabilities: np.ndarray) -> str:
    """A reliability diagram: observed frequency by predicted confidence, on logit axes."""
    bins = calibration_bins(*confidences(labels, probabilities))
    is_multilabel = target_kind(labels) == "labels"
    x, y = ("probability of a label", "frequency of the label") if is_multilabel else ("confidence", "share correct")
    shown = [end for each in bins for end in (each.confidence, *each.interval)]
    low, high = max(LIMIT, min(shown)), min(1 - LIMIT, max(shown))
    plot = Plot(logit_axis(x, low, high), logit_axis(y, low, high))
    lines = plot.line([(low, low), (high, high)], "diagonal")
    lines += "".join(plot.line([(each.confidence, end) for end in each.interval], "interval") for each in bins)
    dots = "".join(
        plot.dot(
            (each.confidence, each.frequency),
            "dot" if each.is_calibrated else "dot off",
            5,
            f"{_bin_name(each)}: {each.count:,} predictions, mean {each.confidence:.2%}, correct {each.frequency:.2%}",
        )
        for each in bins
    )
    rows = [
        (
            _bin_name(each),
            f"{each.count:,}",
            f"{each.confidence:.2%}",
            f"{each.frequency:.2%} ({each.interval[0]:.2%} to {each.interval[1]:.2%})",
            _describe_calibration(each),
        )
        for each in bins
    ]
    table = html_table("Reliability", (x, "predictions", "mean", f"{y} (95 % range)", "the mean is"), rows)
    return figure(plot.draw(lines, dots, f"Reliability diagram: {y} by {x}; the table has the values"), table)


def _describe_calibration(each: Bin) -> str:
    if each.is_calibrated:
        return "as expected"
    return "too high" if each.confidence > each.frequency else "too low"


def _bin_name(each: Bin) -> str:
    return f"{100 * each.low:g} to {100 * each.high:g} %"


def learning_curves(member: Predictions, loss: str, axis: Axis) -> str:
    """Median and range over the folds, on training and held-out rows; single folds appear when pointed at."""
    folds = [fold for fold, curve in enumerate(member.curves) if curve]
    curves = [member.curves[fold] for fold in folds]
    epochs = _common_epochs(curves)
    plot = Plot(linear_axis("epoch", min(1, *epochs), max(2, *epochs)), axis)
    lines, rows = "", []
    for kind, name in (("train", "training rows"), ("held", "held-out rows")):
        losses = _losses(curves, epochs, kind)
        low, median, high = np.min(losses, axis=0), np.median(losses, axis=0), np.max(losses, axis=0)
        lower, upper = (list(zip(epochs, values.tolist(), strict=True)) for values in (low, high))
        lines += plot.band(lower, upper, kind)
        for fold, values in zip(folds, losses.tolist(), strict=True):
            tip = f"fold {fold}, {name}: {loss} {values[-1]:.4f}" + _accuracy(member.curves[fold][-1], kind)
            lines += plot.line(zip(epochs, values, strict=True), f"fold {kind}", tip)
        lines += plot.line(zip(epochs, median.tolist(), strict=True), f"median {kind}")
        rows.append((name, *(f"{value:.4f}" for value in (median[0], median[-1], low[-1], high[-1]))))
    head = ("rows", f"{loss} after epoch {epochs[0]}", f"after epoch {epochs[-1]}", "best fold", "worst fold")
    table = html_table(f"Learning curves of {member.member}", head, rows)
    description = f"{loss} of {member.member} by epoch, on training and held-out rows; the table has the values"
    return figure(plot.draw(lines, "", description), table)


def describe_training(member: Predictions) -> str:
    """Whether the held-out loss fell until the end, and how far it is from that of the training rows."""
    curves = [curve for curve in member.curves if curve]
    epochs = _common_epochs(curves)
    held_out = _losses(curves, epochs, "held")
    best = int(np.median(held_out, axis=0).argmin())
    last = np.median(held_out[:, -1])
    if best < held_out.shape[1] - 1 and (held_out[:, best] < held_out[:, -1]).all():
        rise = f"{last / np.median(held_out[:, best]) - 1:.0%}"
        return f"overfits: lowest on held-out rows after epoch {epochs[best]}, {rise} higher at the end, in every fold"
    ratio = last / max(np.median(_losses(curves, epochs, "train")[:, -1]), MIN_SHOWN_LOSS)
    return f"does not rise on held-out rows; at the end it is {ratio:.2g} times that of training rows"


def _common_epochs(curves: Sequence[Sequence[CurvePoint]]) -> list[int]:
    """The epochs of all curves; with few rows, folds of one row more are trained for fewer epochs."""
    return sorted(set.intersection(*({point.epoch for point in curve} for curve in curves)))


def _losses(curves: Sequence[Sequence[CurvePoint]], epochs: Sequence[int], kind: str) -> np.ndarray:
    """The losses (folds, epochs) on training or held-out rows."""
    return np.array([[_loss(point, kind) for point in curve if point.epoch in epochs] for curve in curves])


def learning_axis(networks: Sequence[Predictions], loss: str) -> Axis:
    """A common axis, so that networks can be compared."""
    points = [point for member in networks for curve in member.curves for point in curve]
    losses = [max(_loss(point, kind), MIN_SHOWN_LOSS) for point in points for kind in ("train", "held")]
    return log_axis(loss, min(losses), max(losses))


def _loss(point: CurvePoint, kind: str) -> float:
    loss = point.train_log_loss if kind == "train" else point.held_out_log_loss
    assert loss is not None  # only training on all rows has none, and no chart
    return loss


def _accuracy(point: CurvePoint, kind: str) -> str:
    accuracy = point.train_accuracy if kind == "train" else point.held_out_accuracy
    return "" if accuracy is None else f", accuracy {accuracy:.1%}"


def scatter_plot(labels: np.ndarray, predictions: np.ndarray, ids: np.ndarray) -> str:
    """Predicted by true numbers, of a sample of rows."""
    rows = np.sort(np.random.default_rng(0).permutation(len(labels))[:MAX_POINTS])
    true, predicted = labels[rows].astype(float), predictions[rows, 0].astype(float)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    plot = Plot(linear_axis("true number", low, high), linear_axis("predicted out of fold", low, high))
    dots = "".join(
        plot.dot((x, y), "dot point", 3, f"row {ids[row]}: true {x:.4g}, predicted {y:.4g}")
        for row, x, y in zip(rows.tolist(), true.tolist(), predicted.tolist(), strict=True)
    )
    diagonal = plot.line([(plot.x.low, plot.x.low), (plot.x.high, plot.x.high)], "diagonal")
    errors = predictions[:, 0].astype(float) - labels
    quantiles = np.quantile(errors, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
    table = html_table(
        "Errors of the predictions",
        ("predicted minus true", "5 %", "25 %", "median", "75 %", "95 %"),
        [("quantiles", *(f"{value:+.4g}" for value in quantiles))],
    )
    return figure(plot.draw(diagonal, dots, "Predicted numbers by true numbers; the table has their errors"), table)


def interval_plot(score: Score, reference: Score, metric: Metric, ends: tuple[float, float]) -> str:
    """A score with its standard error, above the range of another; the table's text has the values."""
    low, high = ends

    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / ((high - low) or 1)

    left, right = (place(score.value + side * score.standard_error) for side in (-1, 1))
    shaded = [place(reference.value + side * reference.standard_error) for side in (-1, 1)]
    return (
        '<svg class="range" aria-hidden="true">'
        f'<rect class="reference" x="{shaded[0]:.1f}%" width="{shaded[1] - shaded[0]:.1f}%" height="100%"/>'
        f'<line class="interval" x1="{left:.1f}%" x2="{right:.1f}%" y1="50%" y2="50%"/>'
        f'<circle class="dot" cx="{place(score.value):.1f}%" cy="50%" r="4" '
        f'data-tip="{metric.name} {metric.format(score)}"/></svg>'
    )
