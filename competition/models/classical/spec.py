"""scikit-learn pipelines as models of the competition."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import skops.io
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from competition.models.interface import Classifier, Images, ModelSpec, Observer

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

OWN = ("competition.", "numpy.", "sklearn.")  # whose types a kept model may hold


class Classical:
    """A pipeline from images to probabilities, whatever is fitted being fitted inside it."""

    suffix = ".skops"
    remark = ""

    def __init__(self, pipeline: Pipeline, classes: int) -> None:
        self.pipeline = pipeline
        self.classes = classes

    def fit(self, images: Images, labels: np.ndarray, observer: Observer) -> Self:
        """Fit every step; such models have no epochs to observe."""
        self.pipeline.fit(np.asarray(images), labels)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes); a class that the training rows lacked gets none."""
        probabilities = np.zeros((len(images), self.classes))
        probabilities[:, self.pipeline.classes_] = self.pipeline.predict_proba(np.asarray(images))
        return probabilities

    def save(self, path: Path) -> None:
        """Keep the fitted pipeline."""
        skops.io.dump(self.pipeline, path)


def load(path: Path, classes: int) -> Classical:
    """A kept model; a file that holds types of others than this project, NumPy and scikit-learn is refused."""
    unknown = skops.io.get_untrusted_types(file=path)
    foreign = [name for name in unknown if not name.startswith(OWN)]
    if foreign:
        raise ValueError(f"{path} holds {foreign[0]}, which is not loaded")
    return Classical(skops.io.load(path, trusted=unknown), classes)


def calibrated(estimator: BaseEstimator) -> CalibratedClassifierCV:
    """The estimator, fitted on all rows, at the temperature that fits those who saw only two thirds to the others."""
    return CalibratedClassifierCV(estimator, method="temperature", cv=3, ensemble=False)


def classical(
    pipeline: Callable[[Any, int], Pipeline],
    recipe: Any,
    search: "Callable[[BaseTrial], None]",
    seconds: float,
) -> ModelSpec:
    """The spec of a scikit-learn model: a function of its recipe and a seed that makes the pipeline."""

    def build(recipe: Any, seed: int, shape: tuple[int, ...], classes: int) -> Classifier:
        return Classical(pipeline(recipe, seed), classes)

    return ModelSpec(build, load, recipe, ("scikit-learn", "scipy", "numpy"), search, seconds)
