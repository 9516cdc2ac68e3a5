import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from competition.ensemble.blend import Blend
from competition.ensemble.blenders import Mixture
from competition.errors import Problem
from competition.files import sha256
from competition.scoring.metrics import ACCURACY, LOG_LOSS
from competition.scoring.score import Score
from competition.submission.log import Ledger, Origin
from competition.views.terminal.submissions import against_leaderboard, kept

ORIGIN = Origin("letters", "d1", "5-folds-seed-0", "s1", {"quick": "f1", "vgg:tutorial": "f2"}, "auto", "accuracy")


def blend(*members):
    oof, test = np.empty((42_000, 2)), np.empty((0, 2))
    weights = Mixture(np.full(len(members), 1 / len(members)), np.ones(len(members)))
    return Blend(members, "mean", weights, oof, test, Score(0.99, 0.001), Score(0.02, 0.001))


def submitted(ledger, origin, labels, *members):
    entry = ledger.opened(origin)
    assert entry.folder.is_dir()
    entry.file.write_text("Id,Label\n" + "".join(f"{row},{label}\n" for row, label in enumerate(labels, 1)))
    ledger.keep(entry, origin, blend(*members), ACCURACY, Score(0.99, 0.001))
    return entry


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "submissions")


def test_a_run_keeps_its_number_and_another_gets_the_next(ledger):
    first = submitted(ledger, ORIGIN, "aab", "quick")
    again = submitted(ledger, ORIGIN, "abb", "quick", "vgg:tutorial")
    assert first.folder == again.folder and first.folder.name == "001-quick-vgg_tutorial"
    for change in (
        {"blend": "mean"},
        {"data": "d2"},
        {"metric": "QWK"},
        {"split_digest": "s2"},
        {"members": {"quick": "f9"}},
    ):
        submitted(ledger, replace(ORIGIN, **change), "abb", "quick")
    assert [entry.number for entry in ledger.entries("letters")] == [1, 2, 3, 4, 5, 6]
    assert submitted(ledger, ORIGIN, "abb", "quick").number == 1
    assert ledger.entry("letters").number == 6 and ledger.entry("letters", 2).number == 2


def test_numbers_are_each_competitions_own(ledger):
    submitted(ledger, ORIGIN, "aab", "quick")
    assert submitted(ledger, replace(ORIGIN, competition="signs"), "a", "quick").number == 1


def test_runs_that_begin_at_once_get_numbers_of_their_own(ledger):
    origins = [replace(ORIGIN, split=f"5-folds-seed-{seed}") for seed in range(12)]
    with ThreadPoolExecutor(6) as runs:
        entries = list(runs.map(ledger.opened, origins))
    assert sorted(entry.number for entry in entries) == list(range(1, 13))
    assert [ledger.opened(origin).number for origin in origins] == [entry.number for entry in entries]
    assert ledger.entries("letters") == [] and submitted(ledger, origins[3], "a", "quick") == entries[3]


def test_the_latest_is_what_lies_there_to_be_uploaded(ledger):
    first = submitted(ledger, ORIGIN, "aab", "quick")
    submitted(ledger, replace(ORIGIN, blend="mean"), "abb", "quick")
    assert ledger.entry("letters").number == 2
    (ledger.folder / "submission.csv").write_bytes(first.file.read_bytes())  # by the first run, made again
    assert ledger.entry("letters").number == 1


def test_runs_that_write_at_once_lose_no_line(ledger):
    origins = [replace(ORIGIN, competition=f"letters{number}") for number in range(12)]
    with ThreadPoolExecutor(6) as runs:
        list(runs.map(lambda origin: submitted(ledger, origin, "aab", "quick"), origins))
    assert set(ledger.lines()["competition"]) == {origin.competition for origin in origins}


def test_the_card_tells_what_differs_and_what_is_the_same(ledger):
    submitted(ledger, ORIGIN, "aab", "quick")
    other = submitted(ledger, replace(ORIGIN, blend="mean"), "abc", "quick")
    assert other.card["differs_from_the_one_before"] == {"rows": 2, "such_as": ["2: a -> b", "3: b -> c"]}
    same = submitted(ledger, replace(ORIGIN, blend="convex"), "aab", "quick")
    assert same.card["same_as"] == [1] and "the same labels as submission 1" in kept(same)
    assert same.card["origin"]["members"] == ORIGIN.members and same.card["members"] == {"quick": 1.0}


def test_a_score_stands_beside_its_bytes_and_goes_with_them(ledger):
    entry = submitted(ledger, ORIGIN, "aab", "quick")
    submitted(ledger, replace(ORIGIN, blend="mean"), "abb", "quick")
    assert ledger.record("letters", sha256(entry.file), "accuracy", "leaderboard", 0.9975) == [1]
    assert ledger.lines()["leaderboard"].tolist() == ["0.997500", ""]
    submitted(ledger, ORIGIN, "aab", "quick")
    assert ledger.lines().set_index("number").loc["1", "leaderboard"] == "0.997500"
    submitted(ledger, ORIGIN, "ccc", "quick")
    assert ledger.lines().set_index("number").loc["1", "leaderboard"] == ""


def test_a_card_is_readable_by_whoever_reads_json(ledger):
    entry = submitted(ledger, ORIGIN, "aab", "quick")
    assert json.loads((entry.folder / "card.json").read_text())["accuracy"] == [0.99, 0.001]


def test_what_is_not_there_is_told(ledger):
    with pytest.raises(Problem, match="letters has no submission yet; run `make submit COMPETITION=letters`"):
        ledger.entry("letters")
    submitted(ledger, ORIGIN, "aab", "quick")
    with pytest.raises(Problem, match="letters has no submission 7 yet; there are 1 to 1"):
        ledger.entry("letters", 7)


def test_the_leaderboard_is_believed_within_noise(ledger):
    entry = submitted(ledger, replace(ORIGIN, competition="digit-recognizer"), "aab", "quick")
    assert against_leaderboard(entry, ACCURACY, 0.9905, 28_000).endswith("noise")
    assert "look for a difference" in against_leaderboard(entry, ACCURACY, 0.98, 28_000)
    assert "look for a leak" in against_leaderboard(entry, ACCURACY, 0.9990, 28_000)
    other = submitted(ledger, ORIGIN, "aab", "quick")
    assert "leak" not in against_leaderboard(other, ACCURACY, 0.9990, 28_000)


def test_a_score_by_one_metric_is_not_written_beside_anothers(ledger):
    for origin, metric in ((ORIGIN, ACCURACY), (replace(ORIGIN, metric="log loss"), LOG_LOSS)):
        entry = ledger.opened(origin)
        assert entry.folder.is_dir()
        entry.file.write_text("Id,Label\n1,a\n")
        ledger.keep(entry, origin, blend("quick"), metric, Score(0.5, 0.01))
    assert ledger.record("letters", sha256(entry.file), "log loss", "sealed", 0.02) == [2]
    assert ledger.lines()["sealed"].tolist() == ["", "0.020000"]


def test_what_was_kept_when_there_was_one_metric_is_read(ledger):
    entry = submitted(ledger, ORIGIN, "aab", "quick")
    card = json.loads((entry.folder / "card.json").read_text())
    origin = {name: value for name, value in card["origin"].items() if name != "metric"}
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    old = {name: value for name, value in card.items() if name not in ("metric", "score", "rows")}
    (entry.folder / "card.json").write_text(json.dumps(old | {"origin": origin, "origin_digest": digest}))
    ledger.record("letters", card["sha256"], "accuracy", "sealed", 0.98)
    ledger.lines().drop(columns="metric").to_csv(ledger.path, index=False)
    assert entry.card["metric"] == "accuracy" and entry.card["score"] == [0.99, 0.001] and entry.card["rows"] == 9_900
    assert ledger.lines()["metric"].tolist() == ["accuracy"] and ledger.lines()["sealed"].tolist() == ["0.980000"]
    assert submitted(ledger, replace(ORIGIN, blend="mean"), "abb", "quick").number == 2


def test_of_probabilities_the_likeliest_classes_are_compared(ledger, tmp_path):
    for place, origin in enumerate((ORIGIN, replace(ORIGIN, blend="mean"))):
        entry = ledger.opened(origin)
        assert entry.folder.is_dir()
        entry.file.write_text(f"Id,a,b\n1,0.{place + 7},0.{3 - place}\n2,0.{4 + 2 * place},0.{6 - 2 * place}\n")
        ledger.keep(entry, origin, blend("quick"), ACCURACY, Score(0.99, 0.001))
    assert entry.card["differs_from_the_one_before"] == {"rows": 1, "such_as": ["2: b -> a"]}
