"""logistic: multinomial logistic regression on the columns beside the images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from competition.models.classical.spec import classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

MAX_ITER = 1_000


@dataclass(frozen=True)
class LogisticRecipe:
    """Hyperparameters of the preprocessing and of the choice of the regularisation."""

    imputation: Literal["median", "mean"] = "median"
    scaling: Literal["standard", "quantile"] = "standard"  # quantile: each column becomes normally distributed
    max_folds: int = 3  # of the cross-validation within the training rows that chooses C
    min_c: float = 1e-3  # strongest regularisation to choose from
    max_c: float = 1e4


class CrossValidatedLogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression whose C has the lowest log loss in a cross-validation within the training rows."""

    def __init__(self, recipe: LogisticRecipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Choose C, then fit all rows; C is 1 if a class has a single row."""
        self.classes_, counts = np.unique(labels, return_counts=True)
        folds = min(self.recipe.max_folds, counts.min())
        if folds < 2:
            regression = LogisticRegression(max_iter=MAX_ITER)
        else:
            steps = round(np.log10(self.recipe.max_c / self.recipe.min_c))
            regression = LogisticRegressionCV(
                Cs=np.geomspace(self.recipe.min_c, self.recipe.max_c, steps + 1),
                cv=StratifiedKFold(folds, shuffle=True, random_state=self.seed),
                scoring="neg_log_loss",
                l1_ratios=(0,),
                max_iter=MAX_ITER,
                use_legacy_attributes=False,
            )
        self.regression_ = regression.fit(features.astype(float), labels)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return self.regression_.predict_proba(features.astype(float))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most probable class."""
        return self.regression_.predict(features.astype(float))


def pipeline(recipe: LogisticRecipe, seed: int) -> Pipeline:
    """Build the pipeline from columns to probabilities; gaps are filled and indicated by columns of their own."""
    scalers = {
        "standard": StandardScaler(),
        "quantile": QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=seed),
    }
    return make_pipeline(
        SimpleImputer(strategy=recipe.imputation, add_indicator=True, keep_empty_features=True),
        scalers[recipe.scaling],
        CrossValidatedLogisticRegression(recipe, seed),
    )


def search_space(trial: "BaseTrial") -> None:
    """Suggest the preprocessing and the number of folds; C is chosen by the fit itself."""
    trial.suggest_categorical("imputation", ["median", "mean"])
    trial.suggest_categorical("scaling", ["standard", "quantile"])
    trial.suggest_int("max_folds", 2, 8)


SPEC = classical_spec(pipeline, LogisticRecipe(), search_space, seconds=2, inputs="columns")
