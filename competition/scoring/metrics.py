"""Metrics as Kaggle defines them, each with a standard error.

Where rows belong to groups, standard errors count the groups: rows of the same patient are not independent.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module

import numpy as np

from competition.data.targets import TargetKind, target_kind
from competition.errors import UserError, shorten_list
from competition.scoring.losses import is_correct, residuals, row_losses
from competition.scoring.multilabel import has_empty_sets, select_labels
from competition.scoring.standard_error import Score, format_percent, format_score

LOG_LOSS_EPSILON = 1e-15  # Kaggle raises smaller probabilities to it
RESAMPLES = 30  # bootstrap samples of rows or groups, for metrics that need all of them
CLASS: tuple[TargetKind, ...] = ("class",)
LABELS: tuple[TargetKind, ...] = ("labels",)
CLASS_OR_LABELS: tuple[TargetKind, ...] = ("class", "labels")
NUMBER: tuple[TargetKind, ...] = ("number",)
TARGETS = {"class": "one class per image", "labels": "several labels per image", "number": "numbers"}
RANKED = re.compile(r"MAP@([1-9]\d?)", re.IGNORECASE)


class Metric(ABC):
    """A metric that a leaderboard may rank by."""

    name: str
    kinds: tuple[TargetKind, ...] = CLASS  # of targets
    sign = 1  # -1 if lower is better
    scale, unit = 1, ""  # of the axes of charts
    scores_labels: bool | None = True  # whether it ignores how probable the predicted labels are; None: unknown

    def check_target(self, labels: np.ndarray, classes: np.ndarray) -> None:
        """Raise UserError if the metric is undefined for such labels."""
        if (kind := target_kind(labels)) not in self.kinds:
            choices = ", ".join(metric.name for metric in METRICS if kind in metric.kinds)
            raise UserError(
                f"{self.name} is not a metric of {TARGETS[kind]}; choose another metric in competition.toml: {choices}"
            )

    @abstractmethod
    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Score predictions (rows, outputs); without `groups`, rows are independent."""

    def select_predictions(self, probabilities: np.ndarray, submitted: np.ndarray) -> np.ndarray:
        """The predictions that this metric scores: those with the submitted labels, or the probabilities."""
        return submitted if self.scores_labels else probabilities

    def format(self, score: Score) -> str:
        """Format a score with its standard error."""
        return format_score(score)


@dataclass(frozen=True)
class RowMetric(Metric):
    """A mean of scores of single rows."""

    name: str
    row_scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    kinds: tuple[TargetKind, ...] = CLASS
    sign: int = 1
    scores_labels: bool = True

    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Mean and its standard error."""
        return Score.from_rows(self.row_scores(labels, predictions), groups)


class ProportionMetric(RowMetric):
    """A percentage of rows."""

    scale, unit = 100, "%"

    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Proportion; its standard error is at least one row, since no error in a sample does not mean none at all."""
        score = super().score(labels, predictions, groups)
        return Score(score.value, max(score.standard_error, 1 / len(labels)))

    def format(self, score: Score) -> str:
        """Format as a percentage, with standard error."""
        return format_percent(score)


@dataclass(frozen=True)
class MeansMetric(Metric):
    """A smooth function of the means of several quantities of each row."""

    name: str
    quantities: Callable[[np.ndarray, np.ndarray], np.ndarray]  # of labels and predictions: (rows, quantities)
    function: Callable[[np.ndarray], float]
    kinds: tuple[TargetKind, ...] = CLASS_OR_LABELS
    sign: int = 1

    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Score with a standard error by the delta method."""
        return Score.from_means(self.quantities(labels, predictions), self.function, groups)


@dataclass(frozen=True)
class ConfusionMetric(MeansMetric):
    """A smooth function of the means of quantities that are bilinear in a row's one-hot true and predicted classes.

    `quantities` takes these two arrays, (rows, classes) each. With probabilities in place of the true classes, it
    returns expected values.
    """

    # Given the means and the share of one row, 1 / rows: how much predicting a class adds to the score, by true and
    # predicted class. None: the most probable class is always best.
    gains: Callable[[np.ndarray, float], np.ndarray] | None = None

    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Score with a standard error by the delta method."""
        return Score.from_means(self.quantities(*one_hot(labels, predictions)), self.function, groups)


class OrdinalMetric(ConfusionMetric):
    """A metric of ordered classes."""

    def check_target(self, labels: np.ndarray, classes: np.ndarray) -> None:
        """Raise UserError unless the classes are consecutive integers."""
        super().check_target(labels, classes)
        if not (np.issubdtype(classes.dtype, np.integer) and (np.diff(classes) == 1).all()):
            raise UserError(
                f"{self.name} needs consecutive integers as classes, found {shorten_list(classes, 4)}; "
                f"choose another metric in competition.toml"
            )


@dataclass(frozen=True)
class CustomMetric(Metric):
    """A function of all labels and predictions, such as a user's."""

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    kinds: tuple[TargetKind, ...] = (*CLASS_OR_LABELS, *NUMBER)
    sign: int = 1
    scores_labels: bool | None = None

    def score(self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None = None) -> Score:
        """Score with a standard error by bootstrapping the rows or groups."""
        rng, count = np.random.default_rng(0), len(labels)
        value, resampled = self._evaluate(labels, predictions), []
        members = None if groups is None else np.split(np.argsort(groups, kind="stable"), _group_ends(groups))
        for _ in range(RESAMPLES):
            if members is None:
                rows = rng.integers(0, count, count)
            else:
                rows = np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])
            with suppress(UserError):  # a sample may lack a class that the function needs
                resampled.append(self._evaluate(labels[rows], predictions[rows]))
        return Score(value, float(np.std(resampled)) if resampled else 0.0)

    def _evaluate(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        try:
            value = float(self.function(labels, predictions))
        except Exception as error:
            raise self._error(f"raised {type(error).__name__}: {error}") from None
        if not np.isfinite(value):
            raise self._error(f"returned {value}")
        return value

    def _error(self, problem: str) -> UserError:
        if self in METRICS:
            return UserError(f"metric {self.name} {problem}; choose another metric in competition.toml")
        requirement = "it must accept (labels, predictions) and return a finite number"
        return UserError(f"custom metric {self.name} {problem}; {requirement}")


def _group_ends(groups: np.ndarray) -> np.ndarray:
    """Where the next group begins among the sorted groups."""
    return np.cumsum(np.unique(groups, return_counts=True)[1])[:-1]


def kaggle_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Log loss of each row after scaling it to a sum of 1; of several labels, their mean."""
    if target_kind(labels) == "class":
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
    return row_losses(labels, probabilities.astype(float), LOG_LOSS_EPSILON)


def one_hot(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each class or label is true and whether it is predicted, as booleans (rows, classes)."""
    if target_kind(labels) == "labels":
        return labels == 1, select_labels(probabilities, has_empty_sets(labels))
    classes = np.arange(probabilities.shape[1])
    return labels[:, None] == classes, probabilities.argmax(axis=1)[:, None] == classes


def class_indicators(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """True positives, then true, then predicted rows of each class, as (rows, 3 * classes)."""
    return np.concatenate([true * predicted, true, predicted], axis=1).astype(np.float32)


def macro_f1(means: np.ndarray) -> float:
    """Mean F1 of the classes that occur or are predicted; 1 if there are none."""
    correct, true, predicted = np.split(means, 3)
    if not (occurs := true + predicted > 0).any():
        return 1.0
    return float((2 * correct[occurs] / (true + predicted)[occurs]).mean())


def macro_f1_gains(means: np.ndarray, row: float) -> np.ndarray:
    """What predicting a class adds to the sum of the classes' F1."""
    correct, true, predicted = np.split(means, 3)
    count = true + predicted + row
    return np.diag(2 / count) - 2 * correct / count**2


def micro_f1(means: np.ndarray) -> float:
    """F1 of all classes' rows together; 1 if no class occurs or is predicted."""
    correct, true, predicted = np.split(means, 3)
    total = (true + predicted).sum()
    return float(2 * correct.sum() / total) if total else 1.0


def macro_recall(means: np.ndarray) -> float:
    """Mean recall of the classes that occur; 1 if none does."""
    correct, true, _ = np.split(means, 3)
    if not true.any():
        return 1.0
    return float((correct[true > 0] / true[true > 0]).mean())


def macro_recall_gains(means: np.ndarray, row: float) -> np.ndarray:
    """What predicting a class adds to the sum of the classes' recall."""
    _, true, _ = np.split(means, 3)
    return np.diag(1 / (true + row))


def sample_f1(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """F1 of each row's set of labels; 1 if none is true or predicted."""
    true, predicted = one_hot(labels, probabilities)
    total = true.sum(axis=1) + predicted.sum(axis=1)
    return np.where(total > 0, 2 * (true & predicted).sum(axis=1) / np.maximum(total, 1), 1.0)


def _squared_differences(classes: int) -> np.ndarray:
    return np.subtract.outer(np.arange(classes), np.arange(classes)).astype(np.float32) ** 2


def squared_distances(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Squared distance of true and predicted class, and both one-hot, as (rows, 1 + 2 * classes)."""
    distances = ((true.astype(np.float32) @ _squared_differences(true.shape[1])) * predicted).sum(axis=1)
    return np.column_stack([distances, true, predicted]).astype(np.float32)


def quadratic_kappa(means: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights, from the mean of `squared_distances`."""
    true, predicted = np.split(means[1:], 2)
    expected = true @ _squared_differences(len(true)) @ predicted
    return float(1 - means[0] / expected) if expected else 0.0


def quadratic_kappa_gains(means: np.ndarray, row: float) -> np.ndarray:
    """What predicting a class adds to kappa, up to a factor."""
    true, predicted = np.split(means[1:], 2)
    distances = _squared_differences(len(true))
    expected = true @ distances  # for each predicted class, if it were predicted by chance
    return expected * means[0] / max(expected @ predicted, row) - distances


def mean_column_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean area under the ROC curves of the classes or labels against the others, where both occur."""
    from scipy.stats import rankdata

    true = labels if target_kind(labels) == "labels" else labels[:, None] == np.arange(probabilities.shape[1])
    positive = true.sum(axis=0, dtype=float)
    negative = len(true) - positive
    is_defined = (positive > 0) & (negative > 0)
    if not is_defined.any():
        raise ValueError("AUC needs rows with and without a label")
    ranks = (rankdata(probabilities, axis=0) * true).sum(axis=0)
    pairs = ranks - positive * (positive + 1) / 2  # in which the row with the label has the higher probability
    return float((pairs[is_defined] / (positive * negative)[is_defined]).mean())


def average_precision(labels: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Average precision of each row's `k` most probable classes or labels, as in MAP@k."""
    ranking = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    true = labels if target_kind(labels) == "labels" else labels[:, None] == np.arange(probabilities.shape[1])
    hits = np.take_along_axis(true, ranking, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.clip(true.sum(axis=1), 1, k)


def ranked_length(metric: Metric) -> int | None:
    """k of MAP@k; None for other metrics."""
    match = RANKED.fullmatch(metric.name)
    return int(match[1]) if match else None


@cache
def mean_average_precision(k: int) -> Metric:
    """MAP@k."""
    return RowMetric(f"MAP@{k}", partial(average_precision, k=k), CLASS_OR_LABELS)


def _squared_errors(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    return residuals(labels, predictions)[:, None] ** 2


def _root(means: np.ndarray) -> float:
    return float(np.sqrt(means[0]))


def _absolute_errors(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    return np.abs(residuals(labels, predictions))


ACCURACY = ProportionMetric("accuracy", is_correct, CLASS_OR_LABELS)
LOG_LOSS = RowMetric("log loss", kaggle_log_loss, CLASS_OR_LABELS, sign=-1, scores_labels=False)
RMSE = MeansMetric("RMSE", _squared_errors, _root, NUMBER, sign=-1)
MAE = RowMetric("MAE", _absolute_errors, NUMBER, sign=-1)
METRICS: tuple[Metric, ...] = (
    ACCURACY,
    LOG_LOSS,
    CustomMetric("AUC", mean_column_auc, CLASS_OR_LABELS, scores_labels=False),
    CustomMetric("mean column AUC", mean_column_auc, CLASS_OR_LABELS, scores_labels=False),
    ConfusionMetric("macro F1", class_indicators, macro_f1, gains=macro_f1_gains),
    ConfusionMetric("micro F1", class_indicators, micro_f1),
    RowMetric("sample F1", sample_f1, LABELS),
    ConfusionMetric("macro recall", class_indicators, macro_recall, gains=macro_recall_gains),
    OrdinalMetric("QWK", squared_distances, quadratic_kappa, CLASS, gains=quadratic_kappa_gains),
    mean_average_precision(5),
    RMSE,
    MAE,
)
accuracy, log_loss = ACCURACY.score, LOG_LOSS.score


def default_metric(kind: TargetKind) -> Metric:
    """The metric of a competition whose configuration names none."""
    return {"class": ACCURACY, "labels": LOG_LOSS, "number": RMSE}[kind]


def find_metric(name: str, kind: TargetKind = "class") -> Metric:
    """Return a built-in metric by name, or import `module:function`; a leading minus means that lower is better.

    Without a name, it is the default for this kind of target.
    """
    if not name:
        return default_metric(kind)
    for metric in METRICS:
        if metric.name.lower() == re.sub("[-_]", " ", name.lower()):
            return metric
    if ranked := RANKED.fullmatch(name):
        return mean_average_precision(int(ranked[1]))
    module, separator, attribute = name.removeprefix("-").partition(":")
    if not separator:
        names = ", ".join(metric.name for metric in METRICS)
        raise UserError(f"unknown metric {name!r}; choose from {names}, or your own as module:function")
    try:
        return CustomMetric(name, getattr(import_module(module), attribute), sign=-1 if name.startswith("-") else 1)
    except Exception as error:  # importing a module can raise anything
        raise UserError(f"metric {name} cannot be imported: {type(error).__name__}: {error}") from None


def displayed_metrics(metric: Metric, labels: np.ndarray) -> tuple[Metric, ...]:
    """The competition's metric and those that are always shown, without duplicates."""
    always = (RMSE, MAE) if target_kind(labels) == "number" else (ACCURACY, LOG_LOSS)
    return tuple(dict.fromkeys((metric, *always)))


def rank_members(
    predictions: Mapping[str, np.ndarray],
    labels: np.ndarray,
    metric: Metric,
    groups: np.ndarray | None = None,
    submitted: Mapping[str, np.ndarray] | None = None,
) -> dict[str, list[str]]:
    """Format the scores of each member by all displayed metrics, best member first.

    Metrics of labels score the predictions as they would be `submitted`, if given.
    """
    metrics, submitted = displayed_metrics(metric, labels), submitted or predictions
    scores = {
        name: [each.score(labels, each.select_predictions(oof, submitted[name]), groups) for each in metrics]
        for name, oof in predictions.items()
    }
    ranking = sorted(scores, key=lambda name: -metric.sign * scores[name][0].value)
    return {name: [m.format(score) for m, score in zip(metrics, scores[name], strict=True)] for name in ranking}
