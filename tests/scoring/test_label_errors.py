import numpy as np

from competition.scoring.label_errors import MAX_LABEL_PROBABILITY, find_label_errors


def test_a_label_is_suspected_if_no_member_predicts_it_and_the_blend_hardly_does():
    labels = np.zeros(4, dtype=int)
    own = np.array([0.001, 0.001, MAX_LABEL_PROBABILITY, 0.001])
    votes = np.array([[1, 1, 1, 0], [1, 0, 1, 0]])
    suspected = find_label_errors(labels, np.column_stack([own, 1 - own]), votes)
    assert suspected.tolist() == [True, False, False, False]
