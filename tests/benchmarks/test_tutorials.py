import json

import numpy as np
import pytest

from benchmarks.tutorials import PRESETS, Preset, Results, train
from competition.models.member import Member
from competition.models.networks.recipe import native_precision


def test_each_preset_is_a_member():
    assert all(preset.member.name == preset.name for preset in PRESETS)
    assert {preset.member.recipe.precision for preset in PRESETS if preset.member.spec.is_network} == {
        native_precision()
    }


def test_what_was_trained_is_known_until_it_is_made_otherwise(dataset, tmp_path):
    path = tmp_path / "presets.json"
    tried = [Preset("knn:pixels", "", ""), Preset("mlp", "", "")]
    Results(path, dataset).keep(Member.named("mlp"), 0.9, 0.01, 5.0)
    assert [member.name for member in Results(path, dataset).waiting(tried)] == ["knn:pixels"]
    told = json.loads(path.read_text())
    told["mlp"]["made_of"] = "another recipe"
    path.write_text(json.dumps(told))
    assert [member.name for member in Results(path, dataset).waiting(tried)] == ["knn:pixels", "mlp"]


def test_all_training_rows_teach(dataset):
    heard = []
    members = [Member.named(name) for name in ("mlp", "knn:pixels", "svm:pixels")]
    found = dict(train(members, dataset, lambda *said: heard.append(said), jobs=2))
    assert set(found) == set(members)
    assert all(said.test.shape == (len(dataset.test_ids), 10) and said.seconds > 0 for said in found.values())
    assert np.mean(found[members[1]].test.argmax(axis=1) == found[members[2]].test.argmax(axis=1)) > 0.9
    epochs = [said[2][:2] for said in heard if said[1] == "epoch"]
    assert epochs == [(done, 5) for done in range(1, 6)]


@pytest.mark.slow
def test_presets_are_graded_once(command, monkeypatch, tmp_path):
    source = tmp_path / "sitecustomize.py"  # the same command, of one small preset of the small competition
    source.write_text(
        "import benchmarks.tutorials as p\n"
        "p.COMPETITION, p.PRESETS = 'digits8', (p.Preset('knn:pixels', 'neighbours', '96.91 %'),)\n"
        "import benchmarks.tables as t\nt.PRESETS = p.PRESETS\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for again in (False, True):
        done = command("presets", module="benchmarks")
        assert done.returncode == 0 and "96.91 %" in done.stdout, done.stderr
        assert ("of 200 test rows" in done.stdout) is not again
    openings = tmp_path / "data" / "digits8" / "sealed" / "openings.csv"
    assert len(openings.read_text().splitlines()) == 2
