"""What was measured of data, machine and recipes."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from competition.checks.augmentations import Effect
from competition.checks.doctor import Finding, image_name
from competition.data.dataset import Dataset

EXAMPLES = 5  # of what the doctor found of a kind


def effects(found: Sequence[Effect], classes: np.ndarray) -> Table:
    """A row for each change of the images."""
    table = Table("change", box=None)
    for heading in ("still right", "class hurt most", "taken for", "share", "safe"):
        table.add_column(heading, justify="right")
    for one in found:
        hurt, into = (str(classes[which]) if one.share else "" for which in (one.changed_class, one.into))
        verdict = "yes" if one.is_safe else "NO"
        table.add_row(one.change, f"{one.still_right:.1%}", hurt, into, f"{one.share:.1%}", verdict)
    return table


def finding(found: Finding, dataset: Dataset) -> str:
    """A line for one thing that was looked at."""
    verdict = "fine" if found.is_fine else "LOOK"
    examples = [" and ".join(image_name(dataset, image) for image in group) for group in found.shown[:EXAMPLES]]
    rows = f" (such as {', '.join(examples)})" if examples else ""
    return f"{verdict}  {found.what}: {found.told}{rows}"
