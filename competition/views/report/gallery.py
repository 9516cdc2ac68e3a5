"""The hard rows: wrong, nearly wrong, perhaps labelled wrong; each with its picture and every model's vote."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.ensemble.blend import Blend
from competition.scoring.label_errors import suspected
from competition.scoring.metrics import row_log_loss
from competition.views.html import picture

MOST = 400  # rows on the page


def hard_rows(members: Sequence[Predictions], blend: Blend, dataset: Dataset) -> list[dict[str, Any]]:
    """The rows of the greatest log loss, the greatest first."""
    labels = dataset.labels
    chosen = np.argsort(-row_log_loss(labels, blend.oof), kind="stable")[:MOST]
    votes = np.stack([member.oof.argmax(axis=1) for member in members])
    suspects = suspected(labels, blend.oof, votes)
    found = []
    for row in chosen.tolist():
        label, said = int(labels[row]), blend.oof[row]
        by_model = [
            [int(vote), round(float(member.oof[row, vote]), 4)]
            for member, vote in zip(members, votes[:, row], strict=True)
        ]
        found.append(
            {
                "id": str(dataset.train_ids[row]),
                "label": label,
                "taken": int(said.argmax()),
                "sure": round(float(said.max()), 4),
                "label_sure": round(float(said[label]), 5),
                "votes": by_model,
                "suspect": bool(suspects[row]),
                "image": picture(dataset.images[row]),
            }
        )
    return found
