import numpy as np

from competition.scoring.metrics import ACCURACY, LOG_LOSS
from competition.tuning.trials import BLOCKS, Evidence
from competition.tuning.validation import judged, winner


def evidence(by_fold, wrong=(3, 3, 3, 3, 3)):
    both = zip(by_fold, wrong, strict=True)
    return {fold: Evidence((loss,) * BLOCKS, errors, 100, 1.0) for fold, (loss, errors) in enumerate(both)}


PRESENT = evidence([0.030, 0.020, 0.025, 0.035, 0.028])


def verdict(by_fold, candidates=1):
    return judged({"c": 1.0}, 7, evidence(by_fold), PRESENT, candidates, ACCURACY)


def test_better_on_every_fold_by_about_as_much_is_proved():
    better = verdict([0.026, 0.017, 0.021, 0.032, 0.024])
    assert better.is_proved and np.isclose(better.difference, -0.0036) and better.present_wrong == 15
    assert winner([better]) is better


def test_better_in_the_mean_by_one_lucky_fold_is_noise():
    lucky = verdict([0.001, 0.021, 0.026, 0.036, 0.029])
    assert lucky.difference < 0 and not lucky.is_proved
    assert winner([lucky]) is None


def test_a_better_log_loss_is_not_bought_with_wrong_digits():
    losses = [0.026, 0.017, 0.021, 0.032, 0.024]
    for wrong, accepted in (((5, 6, 5, 7, 5), False), ((4, 2, 3, 4, 3), True)):
        found = judged({}, 1, evidence(losses, wrong), PRESENT, 1, ACCURACY)
        assert found.p_value < 0.05 and found.is_proved == accepted


def test_where_log_loss_wins_wrong_rows_have_no_veto():
    found = evidence([0.026, 0.017, 0.021, 0.032, 0.024], (5, 6, 5, 7, 5))
    assert judged({}, 1, found, PRESENT, 1, LOG_LOSS).is_proved
    assert not judged({}, 1, found, PRESENT, 1, ACCURACY).is_proved


def test_worse_and_equal_are_not_proved():
    assert not verdict([0.031, 0.022, 0.026, 0.037, 0.030]).is_proved
    assert not verdict([0.030, 0.020, 0.025, 0.035, 0.028]).is_proved


def test_the_more_were_tried_the_more_is_asked_of_each():
    close = [0.0285, 0.0192, 0.0240, 0.0335, 0.0272]
    assert verdict(close, candidates=1).is_proved and not verdict(close, candidates=20).is_proved


def test_chance_is_adopted_as_rarely_as_promised():
    random = np.random.default_rng(0)
    own = evidence([0.028] * 5)
    others = (evidence(0.028 + 0.003 * random.normal(size=5)) for _ in range(400))
    proved = sum(judged({}, 1, other, own, 1, ACCURACY).is_proved for other in others)
    assert 5 < proved < 35  # 20 are to be expected of 400
