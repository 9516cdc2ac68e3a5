"""Choose the labels with the highest expected metric.

The most probable class maximizes accuracy. QWK, F1 and recall weight errors differently, so another class may have a
higher expected score. Given calibrated probabilities, the expected score of any choice can be computed without labels.
Labels serve only to calibrate the probabilities and to check that the choice is better; no threshold is fitted to them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from competition.data.targets import target_kind
from competition.scoring.calibration import Calibration, fit_calibration
from competition.scoring.metrics import ConfusionMetric, Metric, RowMetric, one_hot
from competition.scoring.multilabel import THRESHOLD, has_empty_sets
from competition.scoring.standard_error import Score
from competition.scoring.temperature import EPSILON

STARTS = 0.0, 0.5, 1.0  # powers of the classes' frequencies, by which probabilities are divided first
MAX_STEPS = 20  # from each start
MIN_SCORE_GAIN_SE = 0.5  # standard errors by which the choice has to be better than the most probable labels
F1_METRICS = "micro F1", "macro F1", "sample F1"  # of several labels
MIN_ROWS = 5  # expected of a class or label; rarer ones are chosen only where they are the most probable
MAX_LABELS = 20  # of an image that are considered for sample F1, the most probable ones


@dataclass(frozen=True)
class Decision(ABC):
    """A rule that chooses labels, given probabilities."""

    calibration: Calibration

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """1 for the class or the labels that are chosen and 0 for others, (rows, outputs)."""
        return self.choose(self.calibration.apply(probabilities))

    @abstractmethod
    def choose(self, calibrated: np.ndarray) -> np.ndarray:
        """The same, given calibrated probabilities."""


@dataclass(frozen=True)
class ClassDecision(Decision):
    """Choose the class with the highest expected gain; a very rare one only where it is the most probable."""

    gains: np.ndarray  # (classes, classes): of predicting the second where the first is true
    is_rare: np.ndarray  # of the classes

    def choose(self, calibrated: np.ndarray) -> np.ndarray:
        """1 for the class that is chosen, 0 for others."""
        gains = np.where(self.is_rare, -np.inf, calibrated @ self.gains)
        has_rare = self.is_rare[calibrated.argmax(axis=1)]
        gains[has_rare] = calibrated[has_rare]
        return _indicate_highest(gains)


@dataclass(frozen=True)
class LabelDecision(Decision):
    """Choose the labels whose probability reaches a threshold."""

    allow_empty: bool  # whether a row may have no label
    thresholds: np.ndarray  # of the labels

    def choose(self, calibrated: np.ndarray) -> np.ndarray:
        """1 for the labels that are chosen, 0 for others."""
        selected = (calibrated >= self.thresholds).astype(np.float32)
        if not self.allow_empty:
            empty = ~selected.any(axis=1)
            selected[empty] = _indicate_highest(calibrated[empty] / self.thresholds)
        return selected


@dataclass(frozen=True)
class SampleDecision(Decision):
    """Choose the set of labels with the highest expected F1 of each row, as if the labels were independent."""

    allow_empty: bool  # whether a row may have no label

    def choose(self, calibrated: np.ndarray) -> np.ndarray:
        """1 for the labels that are chosen, 0 for others."""
        order = np.argsort(-calibrated, axis=1, kind="stable")[:, :MAX_LABELS]
        scores = expected_sample_f1(np.take_along_axis(calibrated, order, axis=1))
        sizes = scores.argmax(axis=1) if self.allow_empty else 1 + scores[:, 1:].argmax(axis=1)
        selected = np.zeros(calibrated.shape, dtype=np.float32)
        np.put_along_axis(selected, order, np.arange(order.shape[1]) < sizes[:, None], axis=1)
        return selected


def fit_decision(
    metric: Metric, probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> Decision | None:
    """Fit the decision on these rows; None if the most probable labels are about as good on them."""
    if not may_prefer_other_labels(metric, labels):
        return None
    calibration = fit_calibration(probabilities, labels)
    calibrated = calibration.apply(probabilities)
    decision = _best_decision(metric, calibration, calibrated, labels)
    gain = _measure_gain(metric, labels, decision.choose(calibrated), probabilities, groups)
    return decision if gain.value > MIN_SCORE_GAIN_SE * gain.standard_error else None


def may_prefer_other_labels(metric: Metric, labels: np.ndarray) -> bool:
    """Whether other labels than the most probable ones may have a higher expected score.

    Macro recall of several labels is left out: predicting every label for each image would maximize it.
    """
    match target_kind(labels):
        case "class":
            return isinstance(metric, ConfusionMetric) and metric.gains is not None
        case "labels":
            return metric.name in F1_METRICS
        case "number":
            return False


def best_f1(probabilities: np.ndarray) -> np.ndarray:
    """The highest F1 of the expected counts in each column (rows, columns), if the most probable rows are chosen."""
    descending = -np.sort(-probabilities, axis=0)
    predicted = np.arange(1, len(probabilities) + 1)[:, None]
    return (2 * descending.cumsum(axis=0) / (predicted + probabilities.sum(axis=0))).max(axis=0)


def expected_sample_f1(probabilities: np.ndarray) -> np.ndarray:
    """Expected F1 of choosing none, the first, the first two, ... of independent labels: (rows, 1 + labels)."""
    rows, labels = probabilities.shape
    scores = np.zeros((rows, labels + 1))
    scores[:, 0] = (1 - probabilities).prod(axis=1)  # an empty set is right if no label is true
    sizes, others = np.arange(1, labels + 1), np.arange(labels)
    for label in range(labels):
        counts = _count_distribution(np.delete(probabilities, label, axis=1))  # of the other labels that are true
        rewards = counts @ (2 / (sizes + 1 + others[:, None]))  # F1's share of this label, by the number chosen
        scores[:, label + 1 :] += (probabilities[:, label, None] * rewards)[:, label:]
    return scores


def _count_distribution(probabilities: np.ndarray) -> np.ndarray:
    """The probability of each number of true labels, which are independent: (rows, 1 + labels)."""
    counts = np.ones((len(probabilities), 1))
    for column in probabilities.T:
        present = column[:, None]
        counts = np.pad(counts * (1 - present), ((0, 0), (0, 1))) + np.pad(counts * present, ((0, 0), (1, 0)))
    return counts


def _measure_gain(
    metric: Metric, labels: np.ndarray, predictions: np.ndarray, reference: np.ndarray, groups: np.ndarray | None
) -> Score:
    """The difference of two scores of the same rows."""
    if isinstance(metric, RowMetric):
        return Score.from_rows(metric.row_scores(labels, predictions) - metric.row_scores(labels, reference), groups)
    assert isinstance(metric, ConfusionMetric)
    quantities = [metric.quantities(*one_hot(labels, each)) for each in (predictions, reference)]
    first, second = (slice(quantities[0].shape[1]), slice(quantities[0].shape[1], None))
    return Score.from_means(
        np.concatenate(quantities, axis=1),
        lambda means: metric.function(means[first]) - metric.function(means[second]),
        groups,
    )


def _best_decision(metric: Metric, calibration: Calibration, calibrated: np.ndarray, labels: np.ndarray) -> Decision:
    """The decision with the highest expected metric on rows with these probabilities."""
    if isinstance(metric, ConfusionMetric) and target_kind(labels) == "class":
        return _best_class_decision(metric, calibration, calibrated)
    allow_empty, outputs = has_empty_sets(labels), calibrated.shape[1]
    match metric.name:  # the threshold that maximizes F1 is half of it
        case "micro F1":
            return LabelDecision(calibration, allow_empty, np.repeat(best_f1(calibrated.reshape(-1, 1)) / 2, outputs))
        case "macro F1":
            is_rare = calibrated.sum(axis=0) < MIN_ROWS
            return LabelDecision(calibration, allow_empty, np.where(is_rare, THRESHOLD, best_f1(calibrated) / 2))
    return SampleDecision(calibration, allow_empty)


def _best_class_decision(metric: ConfusionMetric, calibration: Calibration, calibrated: np.ndarray) -> ClassDecision:
    """The decision with the highest expected metric.

    The metric is a smooth function of means over rows. Each step chooses by its derivatives at the current means.
    """
    assert metric.gains
    rows, frequencies = len(calibrated), np.maximum(calibrated.mean(axis=0), EPSILON)
    is_rare = frequencies < min(MIN_ROWS / rows, frequencies.max())
    best, highest = ClassDecision(calibration, np.eye(len(frequencies)), is_rare), -np.inf
    for power in STARTS:
        decision, value = replace(best, gains=np.diag(frequencies**-power)), -np.inf
        for _ in range(MAX_STEPS):
            means = metric.quantities(calibrated, decision.choose(calibrated)).mean(axis=0, dtype=float)
            previous, value = value, metric.function(means)
            if value > highest:
                best, highest = decision, value
            if value <= previous:
                break
            decision = replace(best, gains=metric.gains(means, 1 / rows))
    return best


def _indicate_highest(scores: np.ndarray) -> np.ndarray:
    """1 for the highest score of each row, 0 for others."""
    indicators = np.zeros(scores.shape, dtype=np.float32)
    indicators[np.arange(len(scores)), scores.argmax(axis=1)] = 1
    return indicators
