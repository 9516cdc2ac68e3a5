"""features-svm: an RBF support vector machine on the features of a pretrained network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from competition.models.classical.features import RandomizedPCA
from competition.models.classical.pairwise_svc import PairwiseSVC
from competition.models.classical.pretrained import MeanOfViews
from competition.models.classical.spec import calibrate, classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class FeaturesSvmRecipe:
    """Hyperparameters of the classifier and of the feature space."""

    mirrored: bool | None = None  # whether mirror images keep their label; None: decided within the training rows
    n_components: int = 256
    c: float = 3.0
    sigmoid_slope: float = 2.0  # of the sigmoid from a pairwise decision value to a probability


def pipeline(recipe: FeaturesSvmRecipe, seed: int) -> Pipeline:
    """Build the pipeline from features to probabilities."""
    return make_pipeline(
        MeanOfViews(recipe.mirrored, seed),
        StandardScaler(),
        RandomizedPCA(recipe.n_components, seed),
        calibrate(PairwiseSVC(recipe.c, recipe.sigmoid_slope)),
    )


def search_space(trial: "BaseTrial") -> None:
    """Suggest the hyperparameters."""
    trial.suggest_float("c", 0.1, 100.0, log=True)
    trial.suggest_int("n_components", 64, 512)
    trial.suggest_float("sigmoid_slope", 0.5, 10.0, log=True)


SPEC = classical_spec(pipeline, FeaturesSvmRecipe(), search_space, seconds=300, inputs="features")
