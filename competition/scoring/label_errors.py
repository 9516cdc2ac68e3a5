"""Training labels that may be wrong."""

import numpy as np

MAX_LABEL_PROBABILITY = 0.02  # a label of less probability may be wrong itself


def find_label_errors(labels: np.ndarray, blend: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Whether each row's label may be wrong itself: no member votes for it and the blend gives it next to nothing.

    The votes of unlike models say it in a line; confident learning, as cleanlab has it, asks for one model's well-tuned
    confidence in each class, and brings more packages than the toolkit has.
    """
    given = blend[np.arange(len(labels)), labels]
    return (given < MAX_LABEL_PROBABILITY) & (votes != labels).all(axis=0)
