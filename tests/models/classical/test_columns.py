"""The models that learn from the columns alongside the images."""

import numpy as np
import pytest

from competition.models.hyperparameters import replace_hyperparameters
from competition.models.interface import Target
from competition.models.registry import load_spec
from competition.scoring.metrics import accuracy, log_loss

MODELS = ("boosting", "logistic")


def fit(name, columns, labels, classes, **changes):
    spec = load_spec(name)
    recipe = replace_hyperparameters(spec.recipe, changes)
    return spec.build(recipe, 0, columns.shape[1:], Target("class", classes)).fit(columns, labels, lambda epoch: None)


def make_table(rows, classes, columns, noise, gaps=0.0, seed=0):
    """A table whose rows scatter around the means of their classes, and the classes."""
    rng, labels = np.random.default_rng(seed), np.arange(rows) % classes
    means = np.random.default_rng(0).normal(size=(classes, columns))
    table = (means[labels] + noise * rng.normal(size=(rows, columns))).astype(np.float32)
    table[rng.random(table.shape) < gaps] = np.nan
    return table, labels


@pytest.mark.parametrize("name", MODELS)
def test_a_table_with_gaps_is_learned(name):
    table, labels = make_table(1000, 4, 8, noise=0.5, gaps=0.1)
    model = fit(name, table[:500], labels[:500], 4)
    probabilities = model.predict_proba(table[500:])
    assert accuracy(labels[500:], probabilities).value > 0.93
    assert log_loss(labels[500:], probabilities).value < 0.2


@pytest.mark.parametrize("name", MODELS)
def test_whether_a_value_is_missing_is_learned(name):
    labels = np.arange(300) % 2
    table = np.where(labels[:, None] == 1, np.nan, np.random.default_rng(0).normal(size=(300, 1))).astype(np.float32)
    assert log_loss(labels, fit(name, table, labels, 2).predict_proba(table)).value < 0.1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("frequencies", [[0.5, 0.5], [0.95, 0.05], [0.4, 0.3, 0.2, 0.1]])
def test_random_labels_are_predicted_by_their_frequencies(name, frequencies):
    rng = np.random.default_rng(0)
    table, labels = rng.normal(size=(3000, 6)).astype(np.float32), rng.choice(len(frequencies), 3000, p=frequencies)
    probabilities = fit(name, table[:1000], labels[:1000], len(frequencies)).predict_proba(table[1000:])
    constant = np.tile(frequencies, (2000, 1))
    chance = log_loss(labels[1000:], constant).value
    assert log_loss(labels[1000:], probabilities).value == pytest.approx(chance, abs=0.03)


@pytest.mark.parametrize(("name", "limit"), [("logistic", 0.1), ("boosting", 0.5)])
def test_many_classes_of_few_rows_are_learned(name, limit):
    table, labels = make_table(99 * 8, 99, 40, noise=0.3)
    held_out, _ = make_table(99 * 2, 99, 40, noise=0.3, seed=1)
    probabilities = fit(name, table, labels, 99).predict_proba(held_out)
    assert log_loss(np.arange(99 * 2) % 99, probabilities).value < limit


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rarest", [1, 2, 3])
def test_a_class_may_have_a_single_row(name, rarest):
    table, labels = make_table(60, 2, 3, noise=0.3)
    labels[:rarest] = 2
    probabilities = fit(name, table, labels, 4).predict_proba(table)  # the fourth class has no row at all
    assert np.allclose(probabilities.sum(axis=1), 1) and (probabilities[:, 3] == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_columns_may_be_empty_or_constant_in_the_training_rows(name):
    table, labels = make_table(200, 2, 4, noise=0.3)
    train, test = table[:100].copy(), table[100:].copy()
    train[:, 1], train[:, 2] = np.nan, 7.0
    test[5:9] = np.nan  # in columns that have no gaps in training, too
    probabilities = fit(name, train, labels[:100], 2).predict_proba(test)
    assert np.isfinite(probabilities).all()
    assert (probabilities.argmax(axis=1) == labels[100:]).mean() > 0.8


def test_columns_of_any_scale_are_learned():
    table, labels = make_table(400, 3, 5, noise=0.4)
    table *= np.logspace(-6, 8, 5, dtype=np.float32)
    for scaling in ("standard", "quantile"):
        model = fit("logistic", table[:200], labels[:200], 3, scaling=scaling)
        assert accuracy(labels[200:], model.predict_proba(table[200:])).value > 0.9, scaling


def test_the_regularization_is_stronger_for_noisier_tables():
    clear, noisy = (fit("logistic", *make_table(200, 2, 20, noise), 2).pipeline[-1] for noise in (0.1, 20.0))
    assert clear.regression_.C_ > noisy.regression_.C_
