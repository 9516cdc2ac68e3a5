import numpy as np

from competition.crossval.predictions import CurvePoint, Predictions
from competition.views.report.charts import describe_training, learning_axis, learning_curves


def member(*curves):
    """A member whose folds have these held-out losses after each epoch."""
    points = [
        [CurvePoint(epoch, len(curve), 1.0, 1.0, 0, 0.9, 0.1, 0.9, loss) for epoch, loss in enumerate(curve, 1)]
        for curve in curves
    ]
    return Predictions("quick", np.zeros((4, 2)), np.zeros((len(curves), 4, 2)), 1.0, "fingerprint", points)


def test_folds_with_other_numbers_of_epochs_are_compared_on_the_epochs_that_all_have():
    uneven = member([0.5, 0.3, 0.2], [0.5, 0.3, 0.2, 0.1])
    assert "does not rise on held-out rows" in describe_training(uneven)
    assert "after epoch 3" in learning_curves(uneven, "log loss", learning_axis([uneven], "log loss"))


def test_overfitting_is_reported_if_the_loss_rises_in_every_fold():
    assert "overfits: lowest on held-out rows after epoch 2" in describe_training(
        member([0.5, 0.2, 0.3], [0.5, 0.2, 0.4])
    )
    assert "does not rise" in describe_training(member([0.5, 0.2, 0.3], [0.5, 0.3, 0.3]))


def test_a_fold_without_a_curve_does_not_renumber_the_others():
    some = member([], [0.5, 0.3], [0.5, 0.2])
    page = learning_curves(some, "log loss", learning_axis([some], "log loss"))
    assert "fold 1, held-out rows: log loss 0.3000" in page and "fold 2, " in page and "fold 0, " not in page
