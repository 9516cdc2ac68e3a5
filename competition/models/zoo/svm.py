"""svm: an RBF support vector machine on histograms of oriented gradients, trained with virtual support vectors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from competition.models.classical.augmented_copies import augment_images
from competition.models.classical.features import Deskew, Hog, Pixels, RandomizedPCA
from competition.models.classical.spec import classical_spec
from competition.scoring.temperature import apply_temperature, fit_temperature

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

ROWS_PER_BATCH = 1_000  # bounds the memory for kernel values


@dataclass(frozen=True)
class SvmRecipe:
    """Hyperparameters of the classifier, the feature space and the virtual support vectors."""

    c: float = 5.0
    n_components: int = 120
    sigmoid_slope: float = 3.0  # of the sigmoid from a pairwise decision value to a probability
    n_copies: int = 2  # augmented copies of each support vector
    rotation: float = 12.0  # degrees
    zoom: float = 0.15


class PairwiseSVC(ClassifierMixin, BaseEstimator):
    """A support vector machine with probabilities that need no cross-validated Platt scaling.

    Each one-vs-one decision value passes through a sigmoid of fixed slope; a class's score is the sum of its log
    probabilities against all others.
    """

    def __init__(self, c: float, sigmoid_slope: float) -> None:
        self.c = c
        self.sigmoid_slope = sigmoid_slope

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit a binary classifier for each pair of classes."""
        gamma = float(1 / (features.shape[1] * (features.var() or 1.0)))
        self.svc_ = SVC(C=self.c, gamma=gamma, cache_size=500).fit(features, labels)
        self.classes_ = self.svc_.classes_
        self.pair_coefficients_ = _pair_coefficients(self.svc_)
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        """Decision values (rows, pairs of classes), computed by matrix products, ten times as fast as by libsvm."""
        vectors = self.svc_.support_vectors_.astype(np.float32)
        lengths = (vectors**2).sum(axis=1)
        decisions = []
        for start in range(0, len(features), ROWS_PER_BATCH):
            rows = features[start : start + ROWS_PER_BATCH].astype(np.float32)
            distances = (rows**2).sum(axis=1, keepdims=True) + lengths - 2 * rows @ vectors.T
            decisions.append(np.exp(-self.svc_.gamma * distances) @ self.pair_coefficients_)
        return np.concatenate(decisions) + self.svc_.intercept_

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        decisions = self.decision_function(features)
        n_classes = len(self.classes_)
        if n_classes == 2:  # a positive value means the second class here, the first of the pair otherwise
            probability = expit(self.sigmoid_slope * decisions[:, 0])
            return np.column_stack([1 - probability, probability])
        scores = np.zeros((len(features), n_classes))
        first, second = np.triu_indices(n_classes, 1)
        for column, (i, j) in enumerate(zip(first, second, strict=True)):
            scores[:, i] -= np.logaddexp(0, -self.sigmoid_slope * decisions[:, column])
            scores[:, j] -= np.logaddexp(0, self.sigmoid_slope * decisions[:, column])
        return softmax(scores, axis=1)


def _pair_coefficients(svc: SVC) -> np.ndarray:
    """Return the coefficient of each support vector (rows) in the classifier of each pair of classes (columns)."""
    n_classes = len(svc.classes_)
    class_of_vector = np.repeat(np.arange(n_classes), svc.n_support_)
    pairs = list(zip(*np.triu_indices(n_classes, 1), strict=True))
    coefficients = np.zeros((len(class_of_vector), len(pairs)), dtype=np.float32)
    for column, (first, second) in enumerate(pairs):
        # scikit-learn stores the coefficients of a class against the n - 1 others, itself left out.
        for one, other in ((first, second - 1), (second, first)):
            vectors = class_of_vector == one
            coefficients[vectors, column] = svc.dual_coef_[other, vectors]
    return coefficients


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


def pipeline(recipe: SvmRecipe, seed: int) -> Pipeline:
    """Build the pipeline from images to probabilities."""
    return make_pipeline(VirtualSupportVectors(recipe, seed))


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


SPEC = classical_spec(pipeline, SvmRecipe(), search_space, seconds=16)
VARIANTS = {"pixels": classical_spec(pixel_pipeline, SvmRecipe(), pixel_search_space, seconds=600)}
