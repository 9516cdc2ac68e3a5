"""features-linear: multinomial logistic regression on the features of a pretrained network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from competition.models.classical.logistic_regression import CrossValidatedLogisticRegression
from competition.models.classical.pretrained import MeanOfViews
from competition.models.classical.spec import classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class FeaturesLinearRecipe:
    """Hyperparameters of the choice of the regularization."""

    mirrored: bool | None = None  # whether mirror images keep their label; None: decided within the training rows
    max_folds: int = 3  # of the cross-validation within the training rows that chooses C
    min_c: float = 1e-3  # strongest regularization to choose from
    max_c: float = 1.0


def pipeline(recipe: FeaturesLinearRecipe, seed: int) -> Pipeline:
    """Build the pipeline from features to probabilities."""
    regression = CrossValidatedLogisticRegression(recipe.max_folds, recipe.min_c, recipe.max_c, seed)
    return make_pipeline(MeanOfViews(recipe.mirrored, seed), StandardScaler(), regression)


def search_space(trial: "BaseTrial") -> None:
    """Suggest the number of folds; C is chosen by the fit itself."""
    trial.suggest_int("max_folds", 2, 8)


SPEC = classical_spec(pipeline, FeaturesLinearRecipe(), search_space, seconds=100, inputs="features")
