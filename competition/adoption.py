"""Whether settings that a search found replace the present ones: a paired test on another split, over all its folds.

The rows of one fold share one training, so folds, not rows, are what the test counts: their differences hold the noise
of rows and of training both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from competition.parameters import Settings
from competition.tuning import Evidence

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
    p_value: float
    needed: float  # p-value below which they are adopted

    @property
    def is_proved(self) -> bool:
        """Whether the finalist is better beyond noise."""
        return self.p_value < self.needed


def judged(
    found: Settings, trial: int, its: Mapping[int, Evidence], present: Mapping[int, Evidence], candidates: int
) -> Verdict:
    """What the folds say of a finalist, one of so many candidates."""
    from scipy.stats import ttest_rel

    ours, theirs = (np.array([np.mean(one[fold].losses) for fold in sorted(present)]) for one in (its, present))
    differences = ours - theirs
    standard_error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    p_value = float(ttest_rel(ours, theirs, alternative="less").pvalue) if standard_error else 1.0
    wrong, present_wrong = (sum(one.wrong for one in each.values()) for each in (its, present))
    return Verdict(
        found,
        trial,
        float(ours.mean()),
        float(theirs.mean()),
        float(differences.mean()),
        standard_error,
        wrong,
        present_wrong,
        p_value,
        NEWS / candidates,
    )


def winner(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best of those that are proved."""
    return min((one for one in verdicts if one.is_proved), key=lambda one: one.log_loss, default=None)
