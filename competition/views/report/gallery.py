"""The hardest training rows, with images and the prediction of each member."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from competition.crossval.predictions import Predictions
from competition.data.dataset import Dataset
from competition.ensemble.blend import Blend
from competition.scoring.label_errors import find_label_errors
from competition.scoring.losses import row_losses
from competition.views.html import image_data_url

MAX_ROWS = 400  # rows on the page


def hardest_rows(members: Sequence[Predictions], blend: Blend, dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows with the highest log loss, highest first."""
    labels = dataset.labels
    chosen = np.argsort(-row_losses(labels, blend.oof), kind="stable")[:MAX_ROWS]
    votes = np.stack([member.oof.argmax(axis=1) for member in members])
    suspects = find_label_errors(labels, blend.oof, votes)
    rows = []
    for row in chosen.tolist():
        label, probabilities = int(labels[row]), blend.oof[row]
        member_votes = [
            [int(vote), round(float(member.oof[row, vote]), 4)]
            for member, vote in zip(members, votes[:, row], strict=True)
        ]
        rows.append(
            {
                "id": str(dataset.train_ids[row]),
                "label": label,
                "predicted": int(probabilities.argmax()),
                "confidence": round(float(probabilities.max()), 4),
                "label_probability": round(float(probabilities[label]), 5),
                "votes": member_votes,
                "suspect": bool(suspects[row]),
                "image": image_data_url(dataset.images[row]),
            }
        )
    return rows
