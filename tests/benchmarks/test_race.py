import pytest

from benchmarks import race
from competition.crossval.folds import make_folds
from competition.models.member import Member
from competition.workers.events import Emitted


@pytest.mark.slow
def test_each_recipe_trains_to_its_end_and_is_scored_after_each_epoch(dataset, monkeypatch):
    monkeypatch.setattr(race, "RECIPES", ("mlp", "lenet"))
    events = []
    runs = {run.member: run for run in race.race_recipes(dataset, make_folds(dataset, 2, 0), events.append)}
    assert set(runs) == {"mlp", "lenet"}
    for name, run in runs.items():
        recipe = Member.parse(name).recipe
        epochs = recipe.epochs_for(len(dataset.labels) // 2 // recipe.batch_size)
        assert len(run.seconds) == len(run.accuracies) == epochs
        assert list(run.seconds) == sorted(run.seconds) and run.final_accuracy.value == run.accuracies[-1]
    assert sum(isinstance(event, Emitted) for event in events) == sum(len(run.seconds) for run in runs.values())


def test_time_to_the_goal_ends_at_the_first_epoch_that_reaches_it():
    run = race.Run("quick", (1.0, 2.0, 3.0), (0.99, 0.996, 0.994), race.Score(0.994, 0.001))
    assert run.seconds_to_goal == 2.0
    assert race.Run("mlp", (1.0,), (0.97,), race.Score(0.97, 0.002)).seconds_to_goal is None
