"""Metrics, each with a standard error."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from competition.errors import UserError, shorten_list
from competition.scoring.standard_error import Score, format_percent, format_score
from competition.scoring.temperature import EPSILON

COUNT_RESAMPLES = 200  # bootstrap samples of a confusion matrix
ROW_RESAMPLES = 30  # bootstrap samples of rows, for metrics that need all of them


class Metric(ABC):
    """A metric that a leaderboard may rank by."""

    name: str
    sign = 1  # -1 if lower is better
    scale, unit = 1, ""  # of the axes of charts
    scores_labels: bool | None = True  # whether it ignores probabilities other than the largest; None: unknown

    def check_classes(self, classes: np.ndarray) -> None:  # noqa: B027 most metrics support all classes
        """Raise UserError if the metric is undefined for these classes."""

    @abstractmethod
    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Score `probabilities` (rows, classes) against `labels` (rows,), given as positions of sorted classes."""

    def format(self, score: Score) -> str:
        """Format a score with its standard error."""
        return format_score(score)


@dataclass(frozen=True)
class RowMetric(Metric):
    """A mean of scores of single rows."""

    name: str
    row_scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    sign: int = 1
    scores_labels: bool = True

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Mean and its standard error."""
        return Score.from_rows(self.row_scores(labels, probabilities))


class ProportionMetric(RowMetric):
    """A percentage of rows."""

    scale, unit = 100, "%"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Proportion; its standard error is at least one row, since no error in a sample does not mean none at all."""
        score = super().score(labels, probabilities)
        return Score(score.value, max(score.standard_error, 1 / len(labels)))

    def format(self, score: Score) -> str:
        """Format as a percentage, with standard error."""
        return format_percent(score)


@dataclass(frozen=True)
class ConfusionMatrixMetric(Metric):
    """A function of the confusion matrix."""

    name: str
    function: Callable[[np.ndarray], float]  # of counts (true classes, predicted classes)

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Score with a standard error by bootstrapping the counts."""
        k = probabilities.shape[1]
        counts = np.bincount(labels * k + probabilities.argmax(axis=1), minlength=k * k)
        rng, nonzero = np.random.default_rng(0), np.flatnonzero(counts)
        resampled, scores = np.zeros_like(counts), []
        for _ in range(COUNT_RESAMPLES):
            resampled[nonzero] = rng.multinomial(len(labels), counts[nonzero] / len(labels))
            scores.append(self.function(resampled.reshape(k, k)))
        return Score(self.function(counts.reshape(k, k)), float(np.std(scores)))


class OrdinalMetric(ConfusionMatrixMetric):
    """A function of the confusion matrix of ordered classes."""

    def check_classes(self, classes: np.ndarray) -> None:
        """Raise UserError unless the classes are consecutive integers."""
        if not (np.issubdtype(classes.dtype, np.integer) and (np.diff(classes) == 1).all()):
            raise UserError(
                f"{self.name} needs consecutive integers as classes, found {shorten_list(classes, 4)}; "
                "choose another metric in competition.toml"
            )


@dataclass(frozen=True)
class CustomMetric(Metric):
    """A function of all labels and probabilities, such as a user's."""

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    sign: int = 1
    scores_labels: bool | None = None

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Score with a standard error by bootstrapping the rows."""
        rng, count = np.random.default_rng(0), len(labels)
        value, resampled = self._evaluate(labels, probabilities), []
        for _ in range(ROW_RESAMPLES):
            rows = rng.integers(0, count, count)
            with suppress(UserError):  # a sample may lack a class that the function needs
                resampled.append(self._evaluate(labels[rows], probabilities[rows]))
        return Score(value, float(np.std(resampled)) if resampled else 0.0)

    def _evaluate(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        try:
            value = float(self.function(labels, probabilities))
        except Exception as error:
            raise self._error(f"raised {type(error).__name__}: {error}") from None
        if not np.isfinite(value):
            raise self._error(f"returned {value}")
        return value

    def _error(self, problem: str) -> UserError:
        if self in METRICS:
            return UserError(f"metric {self.name} {problem}; choose another metric in competition.toml")
        requirement = "it must accept (labels, probabilities) and return a finite number"
        return UserError(f"custom metric {self.name} {problem}; {requirement}")


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 of the classes that occur, from a confusion matrix."""
    correct, occurrences = counts.diagonal(), counts.sum(axis=1) + counts.sum(axis=0)
    return float((2 * correct[occurrences > 0] / occurrences[occurrences > 0]).mean())


def quadratic_kappa(counts: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights, from a confusion matrix."""
    k, total = len(counts), counts.sum()
    weights = np.subtract.outer(np.arange(k), np.arange(k)) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = (weights * by_chance).sum()
    return float(1 - (weights * counts).sum() / expected) if expected else 0.0


def roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve; the mean over one-vs-rest curves for more than two classes."""
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(
        labels, probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities, multi_class="ovr"
    )


def is_correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1.0 for each row whose most probable class is the label, else 0.0."""
    return (probabilities.argmax(axis=1) == labels).astype(float)


def row_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Log loss of each row."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], EPSILON))


ACCURACY = ProportionMetric("accuracy", is_correct)
LOG_LOSS = RowMetric("log loss", row_log_loss, sign=-1, scores_labels=False)
METRICS: tuple[Metric, ...] = (
    ACCURACY,
    LOG_LOSS,
    CustomMetric("AUC", roc_auc, scores_labels=False),
    ConfusionMatrixMetric("macro F1", macro_f1),
    OrdinalMetric("QWK", quadratic_kappa),
)
accuracy, log_loss = ACCURACY.score, LOG_LOSS.score


def find_metric(name: str) -> Metric:
    """Return a built-in metric by name, or import `module:function`; a leading minus means that lower is better."""
    for metric in METRICS:
        if metric.name.lower() == re.sub("[-_]", " ", name.lower()):
            return metric
    module, separator, function = name.removeprefix("-").partition(":")
    if not separator:
        names = ", ".join(metric.name for metric in METRICS)
        raise UserError(f"unknown metric {name!r}; choose from {names}, or your own as module:function")
    try:
        return CustomMetric(name, getattr(import_module(module), function), -1 if name.startswith("-") else 1)
    except Exception as error:  # importing a module can raise anything
        raise UserError(f"metric {name} cannot be imported: {type(error).__name__}: {error}") from None


def leaderboard_metrics(metric: Metric) -> tuple[Metric, ...]:
    """The competition's metric, accuracy and log loss, without duplicates."""
    return tuple(dict.fromkeys((metric, ACCURACY, LOG_LOSS)))


def rank_members(predictions: Mapping[str, np.ndarray], labels: np.ndarray, metric: Metric) -> dict[str, list[str]]:
    """Format the scores of each member by all metrics of the leaderboard, best member first."""
    metrics = leaderboard_metrics(metric)
    scores = {name: [each.score(labels, oof) for each in metrics] for name, oof in predictions.items()}
    ranking = sorted(scores, key=lambda name: -metric.sign * scores[name][0].value)
    return {name: [m.format(score) for m, score in zip(metrics, scores[name], strict=True)] for name in ranking}
