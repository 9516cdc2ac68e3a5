import pytest

from competition.crossval.folds import make_folds
from competition.crossval.store import Store
from competition.deploy.predict import fit_combination
from competition.errors import UserError
from competition.models.member import Member


def test_the_command_that_completes_a_submission_names_its_competition_members_and_split(dataset, tmp_path):
    store = Store(tmp_path / "letters", dataset, make_folds(dataset, 3, 1))
    remedy = "run `make submit MODELS='knn svm' COMPETITION=letters FOLDS=3 SEED=1` again"
    with pytest.raises(UserError, match=f"knn is incomplete, or its code or data have changed; {remedy}"):
        fit_combination(store, [Member.parse("knn"), Member.parse("svm")], "mean")
