from dataclasses import replace

import numpy as np
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from competition.scoring.metrics import ACCURACY, LOG_LOSS, RMSE
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
    by_loss = validate(TRIAL, results, CURRENT, 1, LOG_LOSS)
    assert by_loss.is_accepted and by_loss.p_more_wrong == 1
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


def test_the_same_difference_in_each_fold_is_significant():
    fewer, equal, more = ((count,) * 5 for count in (2, 3, 4))
    losses = [0.026, 0.017, 0.021, 0.032, 0.024]
    for wrong, p_value in ((fewer, 1), (equal, 1), (more, 0)):
        result = validate(TRIAL, fold_results(losses, wrong), CURRENT, 1, ACCURACY)
        assert result.p_more_wrong == p_value and result.is_accepted == (p_value == 1)
    current = fold_results([0.5] * 5)
    for loss, p_value in ((0.25, 0), (0.5, 1), (0.75, 1)):
        assert validate(TRIAL, fold_results([loss] * 5), current, 1, ACCURACY).p_value == p_value


def test_the_figures_are_those_of_a_corrected_t_test():
    losses, current = np.array([0.026, 0.017, 0.021, 0.032, 0.024]), np.array([0.030, 0.020, 0.025, 0.035, 0.028])
    result = validate(TRIAL, fold_results(losses, (4, 2, 3, 4, 3)), CURRENT, 4, ACCURACY)
    assert (result.hyperparameters, result.trial, result.wrong, result.current_wrong) == (
        {"c": 1.0},
        TRIAL.number,
        16,
        15,
    )
    assert np.isclose(result.loss, losses.mean()) and np.isclose(result.current_loss, current.mean())
    assert result.threshold == 0.05 / 4
    # Nadeau and Bengio: the variance of the mean is (1 / folds + test rows / training rows) of the sample's.
    error = np.sqrt(np.var(losses - current, ddof=1) * (1 / 5 + 1 / 4))
    assert np.isclose(result.standard_error, error)
    assert (
        result.p_value > ttest_1samp(losses - current, 0, alternative="less").pvalue
    )  # which takes them as independent
    assert np.isclose(result.p_value, student.cdf((losses - current).mean() / error, 4))
    more_wrong = np.array([-1, 1, 0, -1, 0])  # current minus finalist
    error = np.sqrt(np.var(more_wrong, ddof=1) * (1 / 5 + 1 / 4))
    assert np.isclose(result.p_more_wrong, student.cdf(more_wrong.mean() / error, 4))


def test_folds_without_wrong_rows_count_as_0():
    result = validate(TRIAL, fold_results([0.02] * 5, (0, 1, 0, 2, 0)), fold_results([0.03] * 5, (0,) * 5), 1, ACCURACY)
    assert (result.wrong, result.current_wrong) == (3, 0)


def test_numbers_have_no_wrong_rows():
    numbers = {
        fold: TrialFoldResult((loss,) * BLOCKS, None, 100, 1.0) for fold, loss in enumerate([0.026, 0.017, 0.02])
    }
    current = {
        fold: TrialFoldResult((loss,) * BLOCKS, None, 100, 1.0) for fold, loss in enumerate([0.030, 0.020, 0.024])
    }
    result = validate(TRIAL, numbers, current, 1, RMSE)
    assert result.wrong is None and result.current_wrong is None and result.is_accepted


def test_the_accepted_result_with_the_lowest_loss_is_the_best():
    better, best = (
        validate_losses([loss - gain for loss in (0.030, 0.020, 0.025, 0.0351, 0.028)]) for gain in (0.002, 0.004)
    )
    lucky = validate_losses([0.001, 0.001, 0.026, 0.036, 0.029])
    assert better.is_accepted and best.is_accepted and not lucky.is_accepted and lucky.loss < best.loss
    assert best_validated([better, best, lucky]) is best is best_validated([lucky, best, better])
    assert best_validated([]) is None


def test_the_thresholds_are_strict():
    result = validate_losses([0.026, 0.017, 0.021, 0.032, 0.024])
    assert not replace(result, p_value=0.05, threshold=0.05).is_accepted
    assert replace(result, p_more_wrong=0.05).is_accepted and not replace(result, p_more_wrong=0.049).is_accepted
