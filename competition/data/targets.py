"""The kind of target, inferred from the array of labels.

| kind | labels | predictions |
| --- | --- | --- |
| `class` | integers (rows,), indices into the classes | probabilities (rows, classes) that sum to 1 |
| `labels` | 0 or 1 (rows, classes), several may be 1 | a probability for each of them (rows, classes) |
| `number` | floats (rows,) | the number (rows, 1) |
"""

from typing import Literal

import numpy as np

TargetKind = Literal["class", "labels", "number"]


def target_kind(labels: np.ndarray) -> TargetKind:
    """The kind of target that these labels belong to."""
    if labels.ndim == 2:
        return "labels"
    return "number" if np.issubdtype(labels.dtype, np.floating) else "class"
