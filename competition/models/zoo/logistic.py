"""logistic: multinomial logistic regression on the columns alongside the images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from competition.models.classical.logistic_regression import CrossValidatedLogisticRegression
from competition.models.classical.spec import classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class LogisticRecipe:
    """Hyperparameters of the preprocessing and of the choice of the regularization."""

    imputation: Literal["median", "mean"] = "median"
    scaling: Literal["standard", "quantile"] = "standard"  # quantile: each column becomes normally distributed
    max_folds: int = 3  # of the cross-validation within the training rows that chooses C
    min_c: float = 1e-3  # strongest regularization to choose from
    max_c: float = 1e4


def pipeline(recipe: LogisticRecipe, seed: int) -> Pipeline:
    """Build the pipeline from columns to probabilities; missing values are imputed and flagged by further columns."""
    scalers = {
        "standard": StandardScaler(),
        "quantile": QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=seed),
    }
    return make_pipeline(
        SimpleImputer(strategy=recipe.imputation, add_indicator=True, keep_empty_features=True),
        scalers[recipe.scaling],
        CrossValidatedLogisticRegression(recipe.max_folds, recipe.min_c, recipe.max_c, seed),
    )


def search_space(trial: "BaseTrial") -> None:
    """Suggest the preprocessing and the number of folds; C is chosen by the fit itself."""
    trial.suggest_categorical("imputation", ["median", "mean"])
    trial.suggest_categorical("scaling", ["standard", "quantile"])
    trial.suggest_int("max_folds", 2, 8)


SPEC = classical_spec(pipeline, LogisticRecipe(), search_space, seconds=2, inputs="columns")
