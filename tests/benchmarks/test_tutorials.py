import json

import numpy as np
import pytest

from benchmarks.tutorials import TUTORIALS, Results, Tutorial, train
from competition.models.member import Member
from competition.models.networks.recipe import native_precision
from competition.scoring.standard_error import Score
from competition.workers.events import Emitted


def test_each_tutorial_is_a_member_in_native_precision():
    members = [tutorial.member for tutorial in TUTORIALS]
    assert [member.name for member in members] == [tutorial.name for tutorial in TUTORIALS]
    assert {member.recipe.precision for member in members if member.spec.is_network} == {native_precision()}


def test_a_tutorial_is_trained_again_only_if_its_fingerprint_changes(dataset, tmp_path):
    path = tmp_path / "tutorials.json"
    tutorials = [Tutorial("knn:pixels", "", ""), Tutorial("mlp", "", "")]
    Results(path, dataset).save(Member.parse("mlp"), Score(0.9, 0.01), 5.0)
    assert [member.name for member in Results(path, dataset).pending_members(tutorials)] == ["knn:pixels"]
    saved = json.loads(path.read_text())
    saved["mlp"]["fingerprint"] = "another recipe"
    path.write_text(json.dumps(saved))
    assert [member.name for member in Results(path, dataset).pending_members(tutorials)] == ["knn:pixels", "mlp"]


@pytest.mark.integration
def test_members_are_trained_on_all_training_rows(dataset):
    events = []
    members = [Member.parse(name) for name in ("mlp", "knn:pixels", "svm:pixels")]
    results = dict(train(members, dataset, events.append, jobs=2))
    assert set(results) == set(members)
    assert all(result.test.shape == (len(dataset.test_ids), 10) and result.seconds > 0 for result in results.values())
    assert np.mean(results[members[1]].test.argmax(axis=1) == results[members[2]].test.argmax(axis=1)) > 0.9
    epochs = [event.payload[:2] for event in events if isinstance(event, Emitted)]
    assert epochs == [(epoch, 5) for epoch in range(1, 6)]


@pytest.mark.slow
def test_tutorials_are_graded_once(command, monkeypatch, tmp_path):
    patch = tmp_path / "sitecustomize.py"  # makes the command train one small tutorial on the small competition
    patch.write_text(
        "from benchmarks import tables, tutorials\n"
        "tutorials.COMPETITION = 'digits8'\n"
        "tutorials.TUTORIALS = (tutorials.Tutorial('knn:pixels', 'neighbours', '96.91 %'),)\n"
        "tables.TUTORIALS = tutorials.TUTORIALS\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for is_repeated in (False, True):
        result = command("tutorials", module="benchmarks")
        assert result.returncode == 0 and "96.91 %" in result.stdout, result.stderr
        assert ("of 200 test rows" in result.stdout) is not is_repeated
    evaluations = tmp_path / "data" / "digits8" / "held_back" / "evaluations.csv"
    assert len(evaluations.read_text().splitlines()) == 2
