"""Specs of scikit-learn pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.utils.fixes import parse_version

from competition.models.interface import (
    MIN_CLASS_ROWS,
    Checkpoint,
    Classifier,
    EpochCallback,
    Images,
    Inputs,
    ModelSpec,
    Target,
)

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

TRUSTED_PREFIXES = ("competition.", "numpy.", "sklearn.")  # of the types that a saved model may contain


class PipelineClassifier:
    """A scikit-learn pipeline from images to probabilities."""

    suffix = ".skops"
    remark = ""

    def __init__(self, pipeline: Pipeline, target: Target) -> None:
        self.pipeline = pipeline
        self.target = target

    def fit(
        self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback, checkpoint: Checkpoint | None = None
    ) -> Self:
        """Fit all steps; callback and checkpoint are never used, since there are no epochs."""
        self.pipeline.fit(np.asarray(images), labels)
        return self

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, outputs); 0 for classes that are missing from the training rows."""
        predicted = self.pipeline.predict_proba(np.asarray(images))
        if self.target.kind == "labels":
            return predicted
        probabilities = np.zeros((len(images), self.target.outputs))
        probabilities[:, self.pipeline.classes_] = predicted
        return probabilities

    def save(self, path: Path) -> None:
        """Write the fitted pipeline."""
        import skops.io  # imports all of scikit-learn, which takes a second that only saving and loading need

        skops.io.dump(self.pipeline, path)


class LabelClassifiers(ClassifierMixin, BaseEstimator):
    """One binary classifier for each label, of which a row may have several.

    Labels that too few training rows have, or lack, are predicted by their frequency.
    """

    def __init__(self, classifier: BaseEstimator) -> None:
        self.classifier = classifier

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit a classifier for each column of the labels."""
        rows, present = len(labels), labels.sum(axis=0, dtype=int)
        self.frequencies_ = (present + 1) / (rows + 2)
        is_common = np.minimum(present, rows - present) >= MIN_CLASS_ROWS
        self.classifiers_ = {
            int(label): clone(self.classifier).fit(features, labels[:, label]) for label in np.flatnonzero(is_common)
        }
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Probability of each label (rows, labels)."""
        probabilities = np.tile(self.frequencies_, (len(features), 1))
        for label, classifier in self.classifiers_.items():
            probabilities[:, label] = classifier.predict_proba(features)[:, 1]
        return probabilities


def classify_labels(pipeline: Pipeline) -> Pipeline:
    """The pipeline with a classifier for each label as its last step; the features are computed once for all."""
    name, classifier = pipeline.steps[-1]
    return Pipeline([*pipeline.steps[:-1], (name, LabelClassifiers(classifier))])


def load_pipeline(path: Path, target: Target) -> PipelineClassifier:
    """Load a saved pipeline; reject files with types from outside this project, NumPy and scikit-learn."""
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    untrusted = [name for name in types if not name.startswith(TRUSTED_PREFIXES)]
    if untrusted:
        raise ValueError(f"{path} contains the untrusted type {untrusted[0]}; it was not loaded")
    return PipelineClassifier(skops.io.load(path, trusted=types), target)


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
    label_pipeline: Callable[[Any, int], Pipeline] | None = None,
) -> ModelSpec:
    """Create the spec of a scikit-learn model; `pipeline` builds the pipeline from a recipe and a seed.

    For label sets, the last step of `label_pipeline`, by default of `pipeline`, is repeated for each label.
    """

    def build(recipe: Any, seed: int, shape: tuple[int, ...], target: Target) -> Classifier:
        build_pipeline = (target.kind == "labels" and label_pipeline) or pipeline
        built = build_pipeline(recipe, seed)
        return PipelineClassifier(classify_labels(built) if target.kind == "labels" else built, target)

    return ModelSpec(build, load_pipeline, recipe, ("scikit-learn", "scipy", "numpy"), search_space, seconds, inputs)
