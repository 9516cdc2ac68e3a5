"""The hardest training rows, with images and the prediction of each member."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.data.targets import target_kind
from competition.ensemble.blend import Blend
from competition.scoring.label_errors import find_label_errors
from competition.scoring.losses import row_losses
from competition.scoring.multilabel import has_empty_sets
from competition.views.html import image_data_url
from competition.views.label_text import label_text, prediction_text
from competition.views.report.data import BLEND, ReportData

MAX_ROWS = 400  # rows on the page
MAX_PROBABILITIES = 3  # largest probabilities of a row that are shown


def describe_shared_errors(data: ReportData) -> str:
    """How many errors of the blend all members make; empty unless several members predict classes."""
    if data.kind != "class" or len(data.members) < 2:
        return ""
    wrong = data.submitted[BLEND].argmax(axis=1) != data.labels
    shared = wrong & np.all([member.oof.argmax(axis=1) != data.labels for member in data.members], axis=0)
    return (
        f"Of the blend's {int(wrong.sum()):,} errors, at least one model predicts {int((wrong & ~shared).sum()):,} "
        f"correctly; all models are wrong on the other {int(shared.sum()):,}."
    )


def hardest_rows(members: Sequence[Predictions], blend: Blend, dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows with the highest loss, highest first."""
    labels = dataset.labels
    chosen = np.argsort(-row_losses(labels, blend.oof), kind="stable")[:MAX_ROWS]
    if target_kind(labels) != "class":
        allow_empty = labels.ndim == 2 and has_empty_sets(labels)
        return [_describe_row(row, members, blend, dataset, allow_empty) for row in chosen.tolist()]
    votes = np.stack([member.oof.argmax(axis=1) for member in members])
    suspects = find_label_errors(labels, blend.oof, votes)
    rows = []
    for row in chosen.tolist():
        label, probabilities, predicted = int(labels[row]), blend.oof[row], int(blend.submitted_oof[row].argmax())
        member_votes = [
            [int(vote), round(float(member.oof[row, vote]), 4)]
            for member, vote in zip(members, votes[:, row], strict=True)
        ]
        rows.append(
            {
                "id": str(dataset.train_ids[row]),
                "label": label,
                "predicted": predicted,
                "confidence": round(float(probabilities[predicted]), 4),
                "label_probability": round(float(probabilities[label]), 5),
                "probabilities": _largest(probabilities, label, predicted),
                "votes": member_votes,
                "suspect": bool(suspects[row]),
                "image": image_data_url(dataset.images[row]),
            }
        )
    return rows


def _largest(probabilities: np.ndarray, *others: int) -> list[tuple[int, float]]:
    """The largest probabilities of a row, and those of other classes."""
    classes = np.argsort(-probabilities, kind="stable")[:MAX_PROBABILITIES].tolist()
    return [(index, round(float(probabilities[index]), 4)) for index in dict.fromkeys([*classes, *others])]


def _describe_row(
    row: int, members: Sequence[Predictions], blend: Blend, dataset: Dataset, allow_empty: bool
) -> dict[str, Any]:
    """A row with several labels or a number, as text."""
    label, classes = dataset.labels[row], dataset.classes
    return {
        "id": str(dataset.train_ids[row]),
        "label": label_text(label, classes),
        "predicted": prediction_text(blend.submitted_oof[row], label, classes, allow_empty),
        "votes": [prediction_text(member.oof[row], label, classes, allow_empty) for member in members],
        "image": image_data_url(dataset.images[row]),
    }
