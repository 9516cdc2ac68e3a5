"""Validate hyperparameters from a search: a paired test against the current defaults on another split.

The rows of a fold share one training run, so the test counts folds, not rows: the differences between folds contain the
variance of both rows and training. The training sets of different folds overlap, which makes their differences vary
less than those of independent training runs; the variance is corrected for this, as Nadeau and Bengio (2003) propose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from competition.models.hyperparameters import Hyperparameters
from competition.scoring.metrics import Metric
from competition.tuning.trials import TrialFoldResult

ALPHA = 0.05  # significance level, shared among all candidates that were ever validated on the split


@dataclass(frozen=True)
class ValidationResult:
    """A finalist compared with the current defaults on the same folds."""

    hyperparameters: Hyperparameters
    trial: int  # number of the search's trial that proposed them
    loss: float  # log loss, or squared error of numbers
    current_loss: float
    difference: float  # negative if the finalist is better
    standard_error: float
    wrong: int | None  # None for numbers
    current_wrong: int | None
    p_value: float  # for a lower loss
    threshold: float  # p-value below which the finalist is accepted
    p_more_wrong: float  # p-value for more wrong rows

    @property
    def is_accepted(self) -> bool:
        """Whether the loss is significantly lower and the number of wrong rows not significantly higher."""
        return self.p_value < self.threshold and self.p_more_wrong >= ALPHA


def validate(
    trial: FrozenTrial,
    finalist: Mapping[int, TrialFoldResult],
    current: Mapping[int, TrialFoldResult],
    candidates: int,
    metric: Metric,
) -> ValidationResult:
    """Compare a trial, one of `candidates`, by fold; wrong rows count unless the metric is of probabilities."""
    folds = sorted(current)
    losses, current_losses = (np.array([np.mean(by_fold[i].losses) for i in folds]) for by_fold in (finalist, current))
    wrong, current_wrong = (np.array([by_fold[i].wrong or 0 for i in folds]) for by_fold in (finalist, current))
    counts_errors = current[folds[0]].wrong is not None
    differences = losses - current_losses
    return ValidationResult(
        trial.params,
        trial.number,
        loss=float(losses.mean()),
        current_loss=float(current_losses.mean()),
        difference=float(differences.mean()),
        standard_error=_standard_error(differences),
        wrong=int(wrong.sum()) if counts_errors else None,
        current_wrong=int(current_wrong.sum()) if counts_errors else None,
        p_value=_p_value_less(differences),
        threshold=ALPHA / candidates,
        p_more_wrong=1.0 if metric.scores_labels is False else _p_value_less(current_wrong - wrong),
    )


def _standard_error(differences: np.ndarray) -> float:
    """Standard error of the mean over folds, each of which tests on 1 / (count - 1) of its training rows."""
    count = len(differences)
    return float(differences.std(ddof=1) * np.sqrt(1 / count + 1 / (count - 1)))


def _p_value_less(differences: np.ndarray) -> float:
    """p-value of Student's one-sided t-test that the mean is below 0."""
    from scipy.stats import t

    mean, error = differences.mean(), _standard_error(differences)
    if not error:  # the same difference in each fold
        return float(mean >= 0)
    return float(t.cdf(mean / error, len(differences) - 1))


def best_validated(results: Sequence[ValidationResult]) -> ValidationResult | None:
    """The accepted result with the lowest loss."""
    return min((result for result in results if result.is_accepted), key=lambda result: result.loss, default=None)
