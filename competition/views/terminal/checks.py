"""Results of `make check-augmentation` and `make doctor`."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from competition.checks.augmentations import TransformEffect
from competition.checks.doctor import Finding, image_name
from competition.data.dataset import Dataset

MAX_EXAMPLES = 5  # groups of images in a line


def effects_table(effects: Sequence[TransformEffect], classes: np.ndarray) -> Table:
    """A row for each image transform."""
    table = Table("transform", box=None)
    for heading in ("still correct", "worst class", "predicted as", "fraction", "label-preserving"):
        table.add_column(heading, justify="right")
    for effect in effects:
        true, predicted = (str(classes[k]) if effect.confusion else "" for k in (effect.from_class, effect.to_class))
        preserves = "yes" if effect.is_label_preserving else "NO"
        accuracy, confusion = f"{effect.accuracy:.1%}", f"{effect.confusion:.1%}"
        table.add_row(effect.transform, accuracy, true, predicted, confusion, preserves)
    return table


def finding_line(finding: Finding, dataset: Dataset) -> str:
    """The result of one check, with examples."""
    status = "ok  " if finding.passed else "WARN"
    examples = [" and ".join(image_name(dataset, image) for image in group) for group in finding.images[:MAX_EXAMPLES]]
    rows = f" (e.g. {', '.join(examples)})" if examples else ""
    return f"{status}  {finding.check}: {finding.message}{rows}"
