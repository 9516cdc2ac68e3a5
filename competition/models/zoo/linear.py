"""linear: ridge regression on RBF similarities between histograms of oriented gradients."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.augmented_copies import AugmentedClassifier, ClassifierOfCopies, FeaturesWithCopies
from competition.models.classical.features import Deskew, Hog, LightOnDark, RandomizedPCA, RBFLandmarkFeatures
from competition.models.classical.spec import calibrate, classical_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class LinearRecipe:
    """Hyperparameters of the features, the regression and the augmentation."""

    n_components: int = 120
    n_landmarks: int = 3_000  # training images to which the similarity is measured
    gamma: float = 1.0  # of the RBF kernel
    alpha: float = 0.1  # L2 penalty
    n_copies: int = 1  # augmented copies of each training image
    rotation: float = 8.0  # degrees
    zoom: float = 0.1


def pipeline(recipe: LinearRecipe, seed: int) -> Pipeline:
    """Build the pipeline from images to probabilities."""
    classifier = make_pipeline(
        Deskew(),
        Hog(),
        RandomizedPCA(recipe.n_components, seed),
        RBFLandmarkFeatures(recipe.n_landmarks, recipe.gamma, seed),
        RidgeClassifier(recipe.alpha, solver="cholesky"),
    )
    augmented = AugmentedClassifier(classifier, recipe.n_copies, recipe.rotation, recipe.zoom, seed)
    return make_pipeline(LightOnDark(), calibrate(augmented))


def label_pipeline(recipe: LinearRecipe, seed: int) -> Pipeline:
    """Build the pipeline whose last step is fitted for each label, on features that are computed once."""
    features = make_pipeline(Deskew(), Hog(), RandomizedPCA(recipe.n_components, seed))
    classifier = make_pipeline(
        RBFLandmarkFeatures(recipe.n_landmarks, recipe.gamma, seed), RidgeClassifier(recipe.alpha, solver="cholesky")
    )
    with_copies = FeaturesWithCopies(features, recipe.n_copies, recipe.rotation, recipe.zoom, seed)
    return make_pipeline(LightOnDark(), with_copies, calibrate(ClassifierOfCopies(classifier)))


def search_space(trial: "BaseTrial") -> None:
    """Suggest hyperparameters, except n_landmarks and n_copies: larger values are better but slower."""
    trial.suggest_int("n_components", 40, 240)
    trial.suggest_float("gamma", 0.1, 10.0, log=True)
    trial.suggest_float("alpha", 1e-3, 1e2, log=True)
    trial.suggest_float("rotation", 0.0, 15.0)
    trial.suggest_float("zoom", 0.0, 0.3)


SPEC = classical_spec(pipeline, LinearRecipe(), search_space, seconds=36, label_pipeline=label_pipeline)
