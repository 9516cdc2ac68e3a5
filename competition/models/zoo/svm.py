"""svm: an RBF support vector machine on the oriented gradients of deskewed images, taught by changed copies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from competition.models.classical.augmented_copies import changed
from competition.models.classical.features import Deskew, Hog, Pixels, Projection
from competition.models.classical.spec import classical
from competition.scoring.temperature import temperature, tempered

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Machine:
    """How hard the margin is, in which space, and what its vectors are changed by."""

    c: float = 5.0
    components: int = 120
    steepness: float = 3.0  # of the logistic curve from a pair's decision value to its probability
    copies: int = 2  # of each support vector
    rotation: float = 12.0  # degrees
    zoom: float = 0.15


class PairwiseSVC(ClassifierMixin, BaseEstimator):
    """A support vector machine whose decisions between pairs of classes become probabilities without a second fit.

    Each decision value goes through a logistic curve, and the logarithms of the chances in a class's favour are added
    up.
    """

    def __init__(self, c: float, steepness: float) -> None:
        self.c = c
        self.steepness = steepness

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit one machine for each pair of classes."""
        self.machine_ = SVC(C=self.c, decision_function_shape="ovo", cache_size=500).fit(features, labels)
        self.classes_ = self.machine_.classes_
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        values = self.machine_.decision_function(features)
        k = len(self.classes_)
        if k == 2:
            chance = expit(self.steepness * values)
            return np.column_stack([1 - chance, chance])
        favour = np.zeros((len(features), k))
        first, second = np.triu_indices(k, 1)
        for column, (i, j) in enumerate(zip(first, second, strict=True)):
            favour[:, i] -= np.logaddexp(0, -self.steepness * values[:, column])
            favour[:, j] -= np.logaddexp(0, self.steepness * values[:, column])
        return softmax(favour, axis=1)


class TaughtByCopies(ClassifierMixin, BaseEstimator):
    """Two machines, each trained on half of the rows, find the rows at the border; those and copies train the last one.

    What each half says of the other gives the temperature, so that calibrating costs no further fit.
    """

    def __init__(self, recipe: Machine, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed

    def fit(self, images: np.ndarray, labels: np.ndarray) -> Self:
        """Learn the space, the border, the temperature and the last machine."""
        recipe, self.classes_ = self.recipe, np.unique(labels)
        self.space_ = make_pipeline(
            Deskew(),
            Hog(),
            Projection(recipe.components, self.seed),
        )
        points = self.space_.fit_transform(images)
        border, self.temperature_ = self._border(points, np.searchsorted(self.classes_, labels))
        random = np.random.default_rng(self.seed)
        rounds = [changed(images[border], random, recipe.rotation, recipe.zoom) for _ in range(recipe.copies)]
        taught = [points[border], *(self.space_.transform(copies) for copies in rounds)]
        self.machine_ = self._machine().fit(np.concatenate(taught), np.tile(labels[border], len(taught)))
        return self

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return tempered(self.machine_.predict_proba(self.space_.transform(images)), self.temperature_)

    def _machine(self) -> PairwiseSVC:
        return PairwiseSVC(self.recipe.c, self.recipe.steepness)

    def _border(self, points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
        """Which rows support a half's machine or are wrong by the other's; and the temperature of the machines."""
        if np.bincount(labels).min() < 2:
            return np.ones(len(labels), dtype=bool), 1.0
        border = np.zeros(len(labels), dtype=bool)
        said = np.empty((len(labels), len(self.classes_)))
        halves = StratifiedKFold(2, shuffle=True, random_state=self.seed)
        for half, other in halves.split(points, labels):
            machine = self._machine().fit(points[half], labels[half])
            said[other] = machine.predict_proba(points[other])
            border[half[machine.machine_.support_]] = True
            border[other[said[other].argmax(axis=1) != labels[other]]] = True
        return border, temperature(said, labels)


def pipeline(recipe: Machine, seed: int) -> Pipeline:
    """From images to probabilities."""
    return make_pipeline(TaughtByCopies(recipe, seed))


def search(trial: "BaseTrial") -> None:
    """Margin, space and changes; more copies mostly cost time."""
    trial.suggest_float("c", 1e-2, 1e2, log=True)
    trial.suggest_int("components", 40, 240)
    trial.suggest_float("steepness", 0.5, 10.0, log=True)
    trial.suggest_float("rotation", 0.0, 15.0)
    trial.suggest_float("zoom", 0.0, 0.3)


def among_pixels(recipe: Machine, seed: int) -> Pipeline:
    """As tutorials have it: neither features nor copies."""
    return make_pipeline(Pixels(), PairwiseSVC(recipe.c, recipe.steepness))


def search_among_pixels(trial: "BaseTrial") -> None:
    """The margin and how sure it is."""
    trial.suggest_float("c", 1e-2, 1e2, log=True)
    trial.suggest_float("steepness", 0.5, 10.0, log=True)


SPEC = classical(pipeline, Machine(), search, seconds=26)
VARIANTS = {"pixels": classical(among_pixels, Machine(), search_among_pixels, seconds=600)}
