import pytest

from competition.models.networks.recipe import ANNEALED, CUSTOMARY, constant, halving, native_precision, one_cycle


def test_one_cycle_rises_to_the_peak_and_anneals_to_zero():
    rates = [one_cycle(step / 1000) for step in range(1001)]
    assert max(rates) == pytest.approx(1, abs=0.01) and rates[-1] == 0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_constant_is_constant():
    assert {constant(done / 10) for done in range(11)} == {1.0}


def test_few_rows_are_shown_more_often():
    assert ANNEALED.epochs_of(33_600 // 128) == ANNEALED.epochs_of(11_200 // 128) == ANNEALED.epochs
    assert ANNEALED.epochs_of(10) == 100 and ANNEALED.epochs_of(1) == ANNEALED.least_steps
    assert CUSTOMARY.epochs_of(10) == CUSTOMARY.epochs


def test_the_precision_is_one_that_keras_knows():
    import keras

    assert keras.dtype_policies.get(native_precision()).name == native_precision()


def test_halving_halves_five_times():
    assert [halving(done / 6) for done in range(6)] == [0.5**times for times in range(6)]
