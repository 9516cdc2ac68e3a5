"""What was inferred from a competition's files; it is saved with the arrays and printed before training."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

LAYOUT_FILE = "layout.json"


@dataclass(frozen=True)
class Layout:
    """Where labels, groups and the format of the submission come from."""

    source: str  # of the labels, e.g. "column diagnosis of train.csv"
    sample: str  # path of the sample submission in the competition's folder; empty if there are no test rows
    group: str  # column; empty if each row can be held out on its own
    notes: list[str] = field(default_factory=list)  # further decisions, a line each
    image_side: int = 0  # median of the longer side of the image files; 0: pixels in tables

    def save(self, folder: Path) -> None:
        """Write it into the folder of the arrays."""
        (folder / LAYOUT_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> "Layout":
        """Read it from the folder of the arrays."""
        return cls(**json.loads((folder / LAYOUT_FILE).read_text()))
