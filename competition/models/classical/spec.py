"""Specs of scikit-learn pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.utils.fixes import parse_version

from competition.models.interface import Classifier, EpochCallback, Images, Inputs, ModelSpec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

TRUSTED_PREFIXES = ("competition.", "numpy.", "sklearn.")  # of the types that a saved model may contain


class PipelineClassifier:
    """A scikit-learn pipeline from images to probabilities."""

    suffix = ".skops"
    remark = ""

    def __init__(self, pipeline: Pipeline, classes: int) -> None:
        self.pipeline = pipeline
        self.classes = classes

    def fit(self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback) -> Self:
        """Fit all steps; the callback is never called, since there are no epochs."""
        self.pipeline.fit(np.asarray(images), labels)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes); 0 for classes that are missing from the training rows."""
        probabilities = np.zeros((len(images), self.classes))
        probabilities[:, self.pipeline.classes_] = self.pipeline.predict_proba(np.asarray(images))
        return probabilities

    def save(self, path: Path) -> None:
        """Write the fitted pipeline."""
        import skops.io  # imports all of scikit-learn, which takes a second that only saving and loading need

        skops.io.dump(self.pipeline, path)


def load_pipeline(path: Path, classes: int) -> PipelineClassifier:
    """Load a saved pipeline; reject files with types from outside this project, NumPy and scikit-learn."""
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    untrusted = [name for name in types if not name.startswith(TRUSTED_PREFIXES)]
    if untrusted:
        raise ValueError(f"{path} contains the untrusted type {untrusted[0]}; it was not loaded")
    return PipelineClassifier(skops.io.load(path, trusted=types), classes)


def calibrate(estimator: BaseEstimator) -> BaseEstimator:
    """Wrap an estimator in temperature scaling: fitted on all rows, its temperature by 3-fold cross-validation."""
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        from competition.models.classical.temperature_scaling import TemperatureScaling

        return TemperatureScaling(estimator)
    return CalibratedClassifierCV(estimator, method="temperature", cv=3, ensemble=False)


def classical_spec(
    pipeline: Callable[[Any, int], Pipeline],
    recipe: Any,
    search_space: "Callable[[BaseTrial], None]",
    seconds: float,
    inputs: Inputs = "images",
) -> ModelSpec:
    """Create the spec of a scikit-learn model; `pipeline` builds the pipeline from a recipe and a seed."""

    def build(recipe: Any, seed: int, shape: tuple[int, ...], classes: int) -> Classifier:
        return PipelineClassifier(pipeline(recipe, seed), classes)

    return ModelSpec(build, load_pipeline, recipe, ("scikit-learn", "scipy", "numpy"), search_space, seconds, inputs)
