from itertools import product

import pytest

from benchmarks import race
from benchmarks.tables import race_tables
from competition.crossval.folds import make_folds
from competition.models.member import Member
from competition.models.networks.recipe import native_precision
from competition.workers.events import Emitted


@pytest.mark.slow
def test_each_recipe_trains_to_its_end_and_is_scored_after_each_epoch(dataset, monkeypatch):
    monkeypatch.setattr(race, "RECIPES", ("mlp", "lenet"))
    events = []
    runs = {
        (run.member, run.precision): run for run in race.race_recipes(dataset, make_folds(dataset, 2, 0), events.append)
    }
    assert set(runs) == set(product(("mlp", "lenet"), {"float32", native_precision()}))
    for (name, _), run in runs.items():
        recipe = Member.parse(name).recipe
        epochs = recipe.epochs_for(len(dataset.labels) // 2 // recipe.batch_size)
        assert len(run.seconds) == len(run.accuracies) == epochs
        assert list(run.seconds) == sorted(run.seconds) and run.final_accuracy.value == run.accuracies[-1]
    assert sum(isinstance(event, Emitted) for event in events) == sum(len(run.seconds) for run in runs.values())


def test_time_to_the_goal_ends_at_the_first_epoch_that_reaches_it():
    run = race.Run("quick", "float32", (1.0, 2.0, 3.0), (0.99, 0.996, 0.994), race.Score(0.994, 0.001))
    assert run.seconds_to_goal == 2.0
    assert race.Run("mlp", "float32", (1.0,), (0.97,), race.Score(0.97, 0.002)).seconds_to_goal is None


def test_each_precision_has_its_table_with_the_time_relative_to_quick():
    def run(member, precision, seconds):
        return race.Run(member, precision, (seconds,), (0.996,), race.Score(0.996, 0.001))

    runs = [run("vgg:tutorial", "float32", 80.0), run("quick", "float32", 20.0), run("quick", "mixed_bfloat16", 10.0)]
    float32, bfloat16 = ([list(column.cells) for column in table.columns] for table in race_tables(runs))
    assert float32[0] == ["quick", "vgg:tutorial"] and float32[3] == ["1.0", "4.0"]
    assert bfloat16[0] == ["quick"]
