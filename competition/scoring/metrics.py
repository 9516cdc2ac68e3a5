"""How predictions are scored, and when a difference between two scores is news."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from competition.errors import UserError, shorten_list
from competition.scoring.score import Score, format_percent, format_score
from competition.scoring.temperature import EPSILON

COUNT_RESAMPLES = 200  # times that counts are drawn again for a standard error
ROW_RESAMPLES = 30  # and rows, where a metric takes all of them


class Metric(ABC):
    """What a leaderboard ranks by."""

    name: str
    sign = 1  # -1 where less is better
    scale, unit = 1, ""  # as one writes it
    scores_labels: bool | None = True  # rather than of how sure one is; None: unknown, one's own

    def check_classes(self, classes: np.ndarray) -> None:  # noqa: B027 most have a word on all classes
        """A Problem where it says nothing of these classes."""

    @abstractmethod
    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """Its value for these predictions, and how far that would move on other rows of the same kind."""

    def format(self, score: Score | None) -> str:
        """A score with its standard error, as one writes it."""
        return format_score(score) if score else ""


@dataclass(frozen=True)
class RowMetric(Metric):
    """A mean over rows."""

    name: str
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    sign: int = 1
    scores_labels: bool = True

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """The mean, and its standard error."""
        return Score.from_rows(self.rows(labels, probabilities))


class ProportionMetric(RowMetric):
    """A mean over rows that are right or wrong."""

    scale, unit = 100, "%"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """The share, never surer than to a row: that none is wrong here does not mean that none ever is."""
        found = super().score(labels, probabilities)
        return Score(found.value, max(found.standard_error, 1 / len(labels)))

    def format(self, score: Score | None) -> str:
        """The percentage with its standard error."""
        return format_percent(score)


@dataclass(frozen=True)
class ConfusionMatrixMetric(Metric):
    """A figure of how many rows of each class are taken for each, the likeliest class being taken."""

    name: str
    figure: Callable[[np.ndarray], float]  # of (classes, classes) counts, true by taken

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """The figure, and how it scatters where the counts are drawn again."""
        k = probabilities.shape[1]
        counts = np.bincount(labels * k + probabilities.argmax(axis=1), minlength=k * k)
        random, there = np.random.default_rng(0), np.flatnonzero(counts)
        again, figures = np.zeros_like(counts), []
        for _ in range(COUNT_RESAMPLES):
            again[there] = random.multinomial(len(labels), counts[there] / len(labels))
            figures.append(self.figure(again.reshape(k, k)))
        return Score(self.figure(counts.reshape(k, k)), float(np.std(figures)))


class OrdinalMetric(ConfusionMatrixMetric):
    """A figure of classes in an order."""

    def check_classes(self, classes: np.ndarray) -> None:
        """The classes have to be whole numbers, one after the other."""
        if not (np.issubdtype(classes.dtype, np.integer) and (np.diff(classes) == 1).all()):
            raise UserError(
                f"{self.name} counts steps between classes 0, 1, 2 ...; here they are {shorten_list(classes, 4)}"
            )


@dataclass(frozen=True)
class CustomMetric(Metric):
    """A function of all labels, as positions among the sorted classes, and probabilities, such as one's own."""

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    sign: int = 1
    scores_labels: bool | None = None

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> Score:
        """The function's value, and how it scatters where the rows are drawn again."""
        random, count = np.random.default_rng(0), len(labels)
        drawn = (random.integers(0, count, count) for _ in range(ROW_RESAMPLES))
        value, again = self._of(labels, probabilities), []
        for rows in drawn:
            with suppress(UserError):  # where it wants a class that was not drawn
                again.append(self._of(labels[rows], probabilities[rows]))
        return Score(value, float(np.std(again or value)))

    def _of(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        try:
            value = float(self.function(labels, probabilities))
        except Exception as error:
            raise UserError(f"the metric {self.name} failed, {type(error).__name__}: {error}") from None
        if np.isfinite(value):
            return value
        raise UserError(f"the metric {self.name} gave {value}; a number was expected")


def macro_f1(counts: np.ndarray) -> float:
    """The mean of the classes' F1: rare classes count as much as frequent ones."""
    right, seen = counts.diagonal(), counts.sum(axis=1) + counts.sum(axis=0)
    return float((2 * right[seen > 0] / seen[seen > 0]).mean())


def quadratic_kappa(counts: np.ndarray) -> float:
    """Agreement beyond chance, a mistake weighing by the square of the steps between the classes."""
    k, total = len(counts), counts.sum()
    weights = np.subtract.outer(np.arange(k), np.arange(k)) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = (weights * by_chance).sum()
    return float(1 - (weights * counts).sum() / expected) if expected else 0.0


def roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How often a row of a class is surer of it than a row of another; the mean over classes, where there are more."""
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(
        labels, probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities, multi_class="ovr"
    )


def is_correct(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """1 for each row whose likeliest class is the label, else 0."""
    return (probabilities.argmax(axis=1) == labels).astype(float)


def row_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Minus the log probability that each row gives its label."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], EPSILON))


ACCURACY, LOG_LOSS = (
    ProportionMetric("accuracy", is_correct),
    RowMetric("log loss", row_log_loss, sign=-1, scores_labels=False),
)
accuracy, log_loss = ACCURACY.score, LOG_LOSS.score
METRICS: tuple[Metric, ...] = (
    ACCURACY,
    LOG_LOSS,
    CustomMetric("AUC", roc_auc, scores_labels=False),
    ConfusionMatrixMetric("macro F1", macro_f1),
    OrdinalMetric("QWK", quadratic_kappa),
)


def find_metric(name: str) -> Metric:
    """The metric of this name; `module:function` is one's own, and less is better behind a minus."""
    for metric in METRICS:
        if metric.name.lower() == re.sub("[-_]", " ", name.lower()):
            return metric
    module, found, function = name.removeprefix("-").partition(":")
    if not found:
        known = ", ".join(metric.name for metric in METRICS)
        raise UserError(f"no metric {name!r}; there are {known}, and your own: module:function")
    try:
        return CustomMetric(name, getattr(import_module(module), function), -1 if name.startswith("-") else 1)
    except Exception as error:  # the module may fail of anything
        raise UserError(f"the metric {name} cannot be had, {type(error).__name__}: {error}") from None


def leaderboard_metrics(metric: Metric) -> tuple[Metric, ...]:
    """What a leaderboard shows: the competition's metric, accuracy and log loss, each once."""
    return tuple(dict.fromkeys((metric, ACCURACY, LOG_LOSS)))


def rank_members(predictors: Mapping[str, np.ndarray], labels: np.ndarray, metric: Metric) -> dict[str, list[str]]:
    """What a leaderboard shows of each predictor, as one writes it, the best first."""
    shown = leaderboard_metrics(metric)
    scored = {name: [one.score(labels, said) for one in shown] for name, said in predictors.items()}
    best_first = sorted(scored, key=lambda name: -metric.sign * scored[name][0].value)
    return {name: [one.format(score) for one, score in zip(shown, scored[name], strict=True)] for name in best_first}
