"""svm: an RBF support vector machine on histograms of oriented gradients, trained with virtual support vectors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.augmented_copies import FeaturesWithCopies, augment_images
from competition.models.classical.features import Deskew, Hog, LightOnDark, Pixels, RandomizedPCA
from competition.models.classical.pairwise_svc import PairwiseSVC
from competition.models.classical.spec import classical_spec
from competition.scoring.temperature import apply_temperature, fit_temperature

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class SvmRecipe:
    """Hyperparameters of the classifier, the feature space and the virtual support vectors."""

    c: float = 5.0
    n_components: int = 120
    sigmoid_slope: float = 3.0  # of the sigmoid from a pairwise decision value to a probability
    n_copies: int = 2  # augmented copies of each support vector
    rotation: float = 12.0  # degrees
    zoom: float = 0.15


class VirtualSupportVectors(ClassifierMixin, BaseEstimator):
    """A support vector machine trained on the rows near the decision boundary and on augmented copies of them.

    Two machines, each trained on half of the rows, select those rows. Their predictions for the other half also
    determine the temperature, so that calibration needs no additional fit.
    """

    def __init__(self, recipe: SvmRecipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed

    def fit(self, images: np.ndarray, labels: np.ndarray) -> Self:
        """Fit the features, select the rows, and fit temperature and final machine."""
        recipe, self.classes_ = self.recipe, np.unique(labels)
        self.features_ = make_pipeline(
            Deskew(),
            Hog(),
            RandomizedPCA(recipe.n_components, self.seed),
        )
        features = self.features_.fit_transform(images)
        selected, self.temperature_ = self._select_rows(features, np.searchsorted(self.classes_, labels))
        rng = np.random.default_rng(self.seed)
        copies = [augment_images(images[selected], rng, recipe.rotation, recipe.zoom) for _ in range(recipe.n_copies)]
        training = [features[selected], *(self.features_.transform(augmented) for augmented in copies)]
        self.svm_ = self._build_svm().fit(np.concatenate(training), np.tile(labels[selected], len(training)))
        return self

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return apply_temperature(self.svm_.predict_proba(self.features_.transform(images)), self.temperature_)

    def _build_svm(self) -> PairwiseSVC:
        return PairwiseSVC(self.recipe.c, self.recipe.sigmoid_slope)

    def _select_rows(self, features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
        """Select the support vectors of both halves and the rows that the other half misclassifies; fit a temperature.

        All rows are selected, at temperature 1, if a class has a single row.
        """
        if np.bincount(labels).min() < 2:
            return np.ones(len(labels), dtype=bool), 1.0
        selected = np.zeros(len(labels), dtype=bool)
        probabilities = np.empty((len(labels), len(self.classes_)))
        halves = StratifiedKFold(2, shuffle=True, random_state=self.seed)
        for half, other in halves.split(features, labels):
            svm = self._build_svm().fit(features[half], labels[half])
            probabilities[other] = svm.predict_proba(features[other])
            selected[half[svm.svc_.support_]] = True
            selected[other[probabilities[other].argmax(axis=1) != labels[other]]] = True
        return selected, fit_temperature(probabilities, labels)


class SharedVirtualSupportVectors(VirtualSupportVectors):
    """The same on features of images and of copies (rows, 1 + copies, dimensions), which several labels share."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Select the rows, and fit temperature and final machine."""
        self.classes_ = np.unique(labels)
        selected, self.temperature_ = self._select_rows(features[:, 0], np.searchsorted(self.classes_, labels))
        training = np.concatenate(list(features[selected].swapaxes(0, 1)))
        self.svm_ = self._build_svm().fit(training, np.tile(labels[selected], features.shape[1]))
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return apply_temperature(self.svm_.predict_proba(features[:, 0]), self.temperature_)


def label_pipeline(recipe: SvmRecipe, seed: int) -> Pipeline:
    """Build the pipeline whose last step is fitted for each label, on features that are computed once."""
    features = make_pipeline(Deskew(), Hog(), RandomizedPCA(recipe.n_components, seed))
    with_copies = FeaturesWithCopies(features, recipe.n_copies, recipe.rotation, recipe.zoom, seed)
    return make_pipeline(LightOnDark(), with_copies, SharedVirtualSupportVectors(recipe, seed))


def pipeline(recipe: SvmRecipe, seed: int) -> Pipeline:
    """Build the pipeline from images to probabilities."""
    return make_pipeline(LightOnDark(), VirtualSupportVectors(recipe, seed))


def search_space(trial: "BaseTrial") -> None:
    """Suggest hyperparameters, except n_copies: more copies mostly cost time."""
    trial.suggest_float("c", 1e-2, 1e2, log=True)
    trial.suggest_int("n_components", 40, 240)
    trial.suggest_float("sigmoid_slope", 0.5, 10.0, log=True)
    trial.suggest_float("rotation", 0.0, 15.0)
    trial.suggest_float("zoom", 0.0, 0.3)


def pixel_pipeline(recipe: SvmRecipe, seed: int) -> Pipeline:
    """Build the tutorials' pipeline: raw pixels, no augmentation."""
    return make_pipeline(Pixels(), PairwiseSVC(recipe.c, recipe.sigmoid_slope))


def pixel_search_space(trial: "BaseTrial") -> None:
    """Suggest the hyperparameters of the pixel variant."""
    trial.suggest_float("c", 1e-2, 1e2, log=True)
    trial.suggest_float("sigmoid_slope", 0.5, 10.0, log=True)


SPEC = classical_spec(pipeline, SvmRecipe(), search_space, seconds=16, label_pipeline=label_pipeline)
VARIANTS = {"pixels": classical_spec(pixel_pipeline, SvmRecipe(), pixel_search_space, seconds=600)}
