"""boosting: gradient-boosted decision trees on the columns alongside the images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline

from competition.models.classical.spec import classical_spec
from competition.scoring.losses import row_losses
from competition.scoring.temperature import apply_temperature, fit_temperature

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

MAX_FOLDS = 3  # of the cross-validation within the training rows
MAX_TREES = 2_000  # an iteration adds a tree for each class; many classes have fewer iterations and larger steps
MAX_LEARNING_RATE = 0.3
CHECKPOINTS = 10  # numbers of iterations to choose from


@dataclass(frozen=True)
class BoostingRecipe:
    """Hyperparameters of the trees; the number of iterations is chosen up to `max_iter`."""

    learning_rate: float = 0.05
    max_iter: int = 200
    max_leaf_nodes: int = 15
    min_samples_leaf: int = 10
    l2_regularization: float = 1.0
    max_features: float = 0.5  # fraction of the columns that each split chooses from


class BoostedTrees(ClassifierMixin, BaseEstimator):
    """Gradient boosting that handles missing values (NaN) natively.

    The number of iterations and the temperature are those with the lowest log loss in a cross-validation within the
    training rows.
    """

    def __init__(self, recipe: BoostingRecipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed

    def fit(self, columns: np.ndarray, labels: np.ndarray) -> Self:
        """Choose the number of iterations and the temperature, then fit all rows."""
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        iterations, self.temperature_ = self._choose_iterations(columns, encoded)
        self.trees_ = self._fit_trees(columns, encoded, iterations)
        return self

    def predict_proba(self, columns: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        return apply_temperature(self.trees_.predict_proba(columns), self.temperature_)

    def predict(self, columns: np.ndarray) -> np.ndarray:
        """The most probable class."""
        return self.classes_[self.predict_proba(columns).argmax(axis=1)]

    def _max_iterations(self) -> int:
        trees = len(self.classes_) if len(self.classes_) > 2 else 1  # in each iteration
        return min(self.recipe.max_iter, max(1, MAX_TREES // trees))

    def _fit_trees(self, columns: np.ndarray, labels: np.ndarray, iterations: int) -> HistGradientBoostingClassifier:
        recipe, is_empty = self.recipe, np.isnan(columns).all(axis=0)
        learning_rate = recipe.learning_rate * recipe.max_iter / self._max_iterations()
        trees = HistGradientBoostingClassifier(
            learning_rate=min(learning_rate, max(recipe.learning_rate, MAX_LEARNING_RATE)),
            max_iter=iterations,
            max_leaf_nodes=recipe.max_leaf_nodes,
            min_samples_leaf=recipe.min_samples_leaf,
            l2_regularization=recipe.l2_regularization,
            early_stopping=False,
            random_state=self.seed,
        )
        if "max_features" in trees.get_params():  # since scikit-learn 1.4
            trees.set_params(max_features=recipe.max_features)
        return trees.fit(np.where(is_empty, 0, columns), labels)  # scikit-learn fails on columns without values

    def _choose_iterations(self, columns: np.ndarray, labels: np.ndarray) -> tuple[int, float]:
        """The number of iterations and the temperature; all iterations and 1 if a class has a single row."""
        most = self._max_iterations()
        folds = min(MAX_FOLDS, np.bincount(labels).min())
        if folds < 2:
            return most, 1.0
        checkpoints = np.unique(np.linspace(0, most, CHECKPOINTS + 1).round().astype(int)[1:])
        probabilities = np.empty((len(checkpoints), len(labels), len(self.classes_)), dtype=np.float32)
        split = StratifiedKFold(folds, shuffle=True, random_state=self.seed).split(columns, labels)
        for rows, others in split:
            stages = self._fit_trees(columns[rows], labels[rows], most).staged_predict_proba(columns[others])
            for iterations, stage in enumerate(stages, start=1):
                if iterations in checkpoints:
                    probabilities[np.searchsorted(checkpoints, iterations), others] = stage
        temperatures = [fit_temperature(stage, labels) for stage in probabilities]
        losses = [
            row_losses(labels, apply_temperature(stage, temperature)).mean()
            for stage, temperature in zip(probabilities, temperatures, strict=True)
        ]
        best = int(np.argmin(losses))
        return int(checkpoints[best]), temperatures[best]


def pipeline(recipe: BoostingRecipe, seed: int) -> Pipeline:
    """Build the pipeline from columns to probabilities."""
    return make_pipeline(BoostedTrees(recipe, seed))


def search_space(trial: "BaseTrial") -> None:
    """Suggest all hyperparameters except max_iter: a lower learning rate needs more iterations and more time."""
    trial.suggest_float("learning_rate", 0.02, 0.3, log=True)
    trial.suggest_int("max_leaf_nodes", 4, 63, log=True)
    trial.suggest_int("min_samples_leaf", 3, 100, log=True)
    trial.suggest_float("l2_regularization", 1e-2, 1e2, log=True)
    trial.suggest_float("max_features", 0.1, 1.0)


SPEC = classical_spec(pipeline, BoostingRecipe(), search_space, seconds=10, inputs="columns")
