from benchmarks import qwk_decisions


def test_each_way_to_choose_grades_is_scored_on_other_rows(monkeypatch):
    monkeypatch.setattr(qwk_decisions, "REPEATS", 4)
    scores = dict(qwk_decisions.compare_decisions(60))
    assert len(scores) == 4 and all(0 < score.value < 1 for score in scores.values())
    assert scores["the expected grade, rounded"].value > scores["the most probable grade"].value
