"""Whether settings that a search found replace the present ones: a paired test on another split, over all its folds.

The rows of one fold share one training, so folds, not rows, are what the test counts: their differences hold the noise
of rows and of training both. Folds in their turn share most of what teaches them, so that their differences scatter
less than those of trainings on rows of their own would; the variance is corrected for it as Nadeau and Bengio did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from competition.models.hyperparameters import Settings
from competition.scoring.metrics import Metric
from competition.tuning.trials import Evidence

NEWS = 0.05  # p-value, shared among all that were ever judged on the split


@dataclass(frozen=True)
class Verdict:
    """A finalist against the present settings, on the same folds."""

    settings: Settings
    trial: int  # of the search that found them
    log_loss: float
    present: float  # log loss
    difference: float  # of log loss, negative where the finalist is better
    standard_error: float
    wrong: int
    present_wrong: int
    p_value: float  # of being better by chance
    needed: float  # p-value below which they are adopted
    p_more_wrong: float  # of having more wrong by chance

    @property
    def is_proved(self) -> bool:
        """Whether the finalist is better beyond noise, and not at the price of more wrong rows beyond noise."""
        return self.p_value < self.needed and self.p_more_wrong >= NEWS


def judged(
    found: Settings,
    trial: int,
    its: Mapping[int, Evidence],
    present: Mapping[int, Evidence],
    candidates: int,
    metric: Metric,
) -> Verdict:
    """What the folds say of a finalist, one of so many candidates; wrong rows count where the metric is of labels."""
    folds = sorted(present)
    ours, theirs = (np.array([np.mean(one[fold].losses) for fold in folds]) for one in (its, present))
    wrong, present_wrong = (np.array([one[fold].wrong for fold in folds]) for one in (its, present))
    differences = ours - theirs
    return Verdict(
        found,
        trial,
        log_loss=float(ours.mean()),
        present=float(theirs.mean()),
        difference=float(differences.mean()),
        standard_error=_standard_error(differences),
        wrong=int(wrong.sum()),
        present_wrong=int(present_wrong.sum()),
        p_value=_chance_of_less(differences),
        needed=NEWS / candidates,
        p_more_wrong=1.0 if metric.of_labels is False else _chance_of_less(present_wrong - wrong),
    )


def _standard_error(differences: np.ndarray) -> float:
    """Of the folds' mean: what one fold holds out is 1 / (count - 1) of what teaches it."""
    count = len(differences)
    return float(differences.std(ddof=1) * np.sqrt(1 / count + 1 / (count - 1)))


def _chance_of_less(differences: np.ndarray) -> float:
    """How likely chance alone makes the folds' differences as negative as they are; Student's one-sided test."""
    from scipy.stats import t

    error = _standard_error(differences)
    return float(t.cdf(differences.mean() / error, len(differences) - 1)) if error else 1.0


def winner(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best of those that are proved."""
    return min((one for one in verdicts if one.is_proved), key=lambda one: one.log_loss, default=None)
