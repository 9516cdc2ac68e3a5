import pytest

from benchmarks import race
from competition.crossval.folds import split
from competition.models.member import Member


@pytest.mark.slow
def test_each_runner_goes_to_its_own_end_and_is_watched_epoch_by_epoch(dataset, monkeypatch):
    monkeypatch.setattr(race, "RUNNERS", ("mlp", "lenet"))
    heard = []
    runs = {run.member: run for run in race.race(dataset, split(dataset, 2, 0), lambda *said: heard.append(said))}
    assert set(runs) == {"mlp", "lenet"}
    for name, run in runs.items():
        recipe = Member.named(name).recipe
        assert len(run.seconds) == len(run.accuracies) == recipe.epochs_of(len(dataset.labels) // 2 // recipe.batch)
        assert list(run.seconds) == sorted(run.seconds) and run.end.value == run.accuracies[-1]
    assert sum(said[1] == "epoch" for said in heard) == sum(len(run.seconds) for run in runs.values())


def test_the_goal_is_reached_when_it_is_first_reached():
    run = race.Run("quick", (1.0, 2.0, 3.0), (0.99, 0.996, 0.994), race.Score(0.994, 0.001))
    assert run.until_goal == 2.0
    assert race.Run("mlp", (1.0,), (0.97,), race.Score(0.97, 0.002)).until_goal is None
