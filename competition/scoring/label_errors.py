"""Detection of wrong labels."""

import numpy as np

MAX_LABEL_PROBABILITY = 0.02  # of the blend; a label with a higher probability is not suspected


def find_label_errors(labels: np.ndarray, blend: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Whether each row's label is probably wrong: no member predicts it and the blend gives it almost no probability.

    `votes` (members, rows) are the predicted classes. Confident learning, as in cleanlab, would add a dependency and
    require calibrated probabilities of a single model.
    """
    label_probabilities = blend[np.arange(len(labels)), labels]
    return (label_probabilities < MAX_LABEL_PROBABILITY) & (votes != labels).all(axis=0)
