import pytest

from competition.crossval.folds import make_folds
from competition.crossval.run import cross_validate
from competition.crossval.store import Store
from competition.deploy.predict import fit_combination, predict_blend
from competition.ensemble.blend import BlendSearch
from competition.errors import UserError
from competition.models.member import Member
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers


def test_a_blend_with_a_member_of_columns_cannot_predict_images(dataset_with_columns, tmp_path):
    store = Store(tmp_path / "leaves", dataset_with_columns, make_folds(dataset_with_columns, 2, 0))
    members = [Member.parse(name) for name in ("logistic", "knn")]
    for _ in cross_validate(store, members, LocalWorkers(2), ignore_event):
        pass
    remedy = "make submit MODELS=knn COMPETITION=leaves FOLDS=2"
    with pytest.raises(UserError, match=f"logistic learns from columns .* without it: {remedy}"):
        predict_blend(store, members, "mean", {"images": dataset_with_columns.test_images[:2]}, LocalWorkers(1))
    assert BlendSearch(
        [store.predictions(member) for member in members], dataset_with_columns.labels, store.folds.held_out
    ).blend("mean").members == ("logistic", "knn")


def test_the_command_that_completes_a_submission_names_its_competition_members_and_split(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 1))
    remedy = "run `make submit MODELS='knn svm' COMPETITION=letters FOLDS=3 SEED=1` again"
    with pytest.raises(UserError, match=f"knn is incomplete, or its code or data have changed; {remedy}"):
        fit_combination(store, [Member.parse("knn"), Member.parse("svm")], "mean")
