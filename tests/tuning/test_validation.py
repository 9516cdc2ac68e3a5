import numpy as np
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from competition.scoring.metrics import ACCURACY, LOG_LOSS
from competition.tuning.trials import BLOCKS, TrialFoldResult
from competition.tuning.validation import best_validated, validate


def fold_results(by_fold, wrong=(3, 3, 3, 3, 3)):
    folds = zip(by_fold, wrong, strict=True)
    return {fold: TrialFoldResult((loss,) * BLOCKS, errors, 100, 1.0) for fold, (loss, errors) in enumerate(folds)}


TRIAL = create_trial(value=0.02, params={"c": 1.0}, distributions={"c": FloatDistribution(0, 2)})
CURRENT = fold_results([0.030, 0.020, 0.025, 0.035, 0.028])


def validate_losses(by_fold, candidates=1):
    return validate(TRIAL, fold_results(by_fold), CURRENT, candidates, ACCURACY)


def test_a_consistent_improvement_is_accepted():
    better = validate_losses([0.026, 0.017, 0.021, 0.032, 0.024])
    assert better.is_accepted and np.isclose(better.difference, -0.0036) and better.current_wrong == 15
    assert best_validated([better]) is better


def test_an_improvement_due_to_one_fold_is_not_significant():
    lucky = validate_losses([0.001, 0.021, 0.026, 0.036, 0.029])
    assert lucky.difference < 0 and not lucky.is_accepted
    assert best_validated([lucky]) is None


def test_a_lower_log_loss_with_more_wrong_rows_is_not_accepted():
    losses = [0.026, 0.017, 0.021, 0.032, 0.024]
    for wrong, accepted in (((5, 6, 5, 7, 5), False), ((4, 2, 3, 4, 3), True)):
        result = validate(TRIAL, fold_results(losses, wrong), CURRENT, 1, ACCURACY)
        assert result.p_value < 0.05 and result.is_accepted == accepted


def test_wrong_rows_do_not_matter_if_the_metric_is_log_loss():
    results = fold_results([0.026, 0.017, 0.021, 0.032, 0.024], (5, 6, 5, 7, 5))
    assert validate(TRIAL, results, CURRENT, 1, LOG_LOSS).is_accepted
    assert not validate(TRIAL, results, CURRENT, 1, ACCURACY).is_accepted


def test_worse_and_equal_log_losses_are_not_accepted():
    assert not validate_losses([0.031, 0.022, 0.026, 0.037, 0.030]).is_accepted
    assert not validate_losses([0.030, 0.020, 0.025, 0.035, 0.028]).is_accepted


def test_the_threshold_falls_with_the_number_of_candidates():
    close = [0.0285, 0.0192, 0.0240, 0.0335, 0.0272]
    assert validate_losses(close, candidates=1).is_accepted and not validate_losses(close, candidates=20).is_accepted


def test_the_false_positive_rate_is_the_significance_level():
    rng = np.random.default_rng(0)
    current = fold_results([0.028] * 5)
    others = (fold_results(0.028 + 0.003 * rng.normal(size=5)) for _ in range(400))
    accepted = sum(validate(TRIAL, other, current, 1, ACCURACY).is_accepted for other in others)
    assert 5 < accepted < 35  # 20 of 400 are expected
