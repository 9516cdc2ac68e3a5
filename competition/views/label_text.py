"""Labels and predictions as text."""

from typing import Any

import numpy as np

from competition.scoring.multilabel import select_labels


def label_text(label: Any, classes: np.ndarray) -> str:
    """The label of a row, an entry of `Dataset.labels`: its class, its labels joined by commas, or its number."""
    if np.ndim(label):
        return ", ".join(classes[label == 1].astype(str)) or "no label"
    return f"{label:.4g}" if np.issubdtype(label.dtype, np.floating) else str(classes[label])


def prediction_text(prediction: np.ndarray, label: Any, classes: np.ndarray, allow_empty: bool) -> str:
    """The prediction (outputs,) for a row with this label, in the same form; `allow_empty` as of `select_labels`."""
    if np.ndim(label):
        return label_text(select_labels(prediction[None], allow_empty)[0], classes)
    return label_text(prediction[0] if np.issubdtype(label.dtype, np.floating) else prediction.argmax(), classes)
