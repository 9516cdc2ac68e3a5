import pytest

from competition.models.networks.recipe import (
    ONE_CYCLE_RECIPE,
    TUTORIAL_RECIPE,
    native_precision,
    one_cycle,
    step_decay,
)


def test_one_cycle_rises_to_the_peak_and_decays_to_zero():
    rates = [one_cycle(step / 1000) for step in range(1001)]
    assert max(rates) == pytest.approx(1, abs=0.01) and rates[-1] == 0
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)


def test_few_rows_are_trained_for_more_epochs():
    recipe = ONE_CYCLE_RECIPE
    assert recipe.epochs_for(33_600 // 128) == recipe.epochs_for(11_200 // 128) == recipe.epochs
    assert recipe.epochs_for(10) == 100 and recipe.epochs_for(1) == recipe.min_steps
    assert TUTORIAL_RECIPE.epochs_for(10) == TUTORIAL_RECIPE.epochs


def test_keras_supports_the_native_precision():
    import keras

    assert keras.dtype_policies.get(native_precision()).name == native_precision()


def test_step_decay_halves_the_rate_five_times():
    assert [step_decay(step / 6) for step in range(6)] == [0.5**halvings for halvings in range(6)]
