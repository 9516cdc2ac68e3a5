import pytest

from benchmarks.training_rows import UNSEEN, _split, compare_training_rows
from competition.crossval.folds import make_folds
from competition.models.member import Member
from competition.workers.local import LocalWorkers


def test_more_folds_train_on_more_rows_and_training_on_all_rows_on_most(dataset):
    folds = make_folds(dataset, 2, 0)
    results = list(
        compare_training_rows(dataset, folds, Member.parse("knn:pixels"), (2, 3), 2, LocalWorkers(1, gpus=[]))
    )
    assert [(each.name, each.training_rows, each.runs) for each in results] == [
        ("2 folds", 150, 2),
        ("3 folds", 200, 3),
        ("all rows", 300, 2),
    ]
    first, _, last = results
    assert first.more_wrong.value == 0 and first.more_log_loss.value == 0
    assert last.more_wrong.value == pytest.approx((last.wrong - first.wrong) / 300)
    assert last.more_log_loss.value == pytest.approx(last.log_loss - first.log_loss)
    assert all(0 < each.wrong < 150 and each.seconds > 0 for each in results)


def test_unseen_rows_are_in_no_fold(dataset):
    seen = make_folds(dataset, 2, 0).held_out == 1
    held_out = _split(dataset, seen, 3, 0)
    assert (held_out[~seen] == UNSEEN).all() and set(held_out[seen]) == {0, 1, 2}
