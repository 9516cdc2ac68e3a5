"""The interface that every model implements, whatever library it uses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np

from competition.data.targets import TargetKind, target_kind

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


MIN_CLASS_ROWS = 3  # training rows of each class that classical models need: they are calibrated on thirds of them

Inputs = Literal["images", "columns", "features"]  # what a model learns from


class Images(Protocol):
    """uint8 images (rows, height, width, channels), in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, height, width and channels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> np.ndarray: ...


class RowSubset:
    """A lazy view of some rows of an array, which may be larger than memory: rows are read when indexed."""

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array = array
        self.rows = np.flatnonzero(rows) if rows.dtype == bool else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as of an array."""
        return len(self.rows), *self.array.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.array[self.rows[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array[self.rows], dtype)


@dataclass(frozen=True)
class Epoch:
    """The state of training at the end of an epoch."""

    number: int  # from 1
    total: int
    loss: float  # mean over the epoch's batches
    images_per_second: float
    predict_proba: Callable[[Images], np.ndarray]  # with the current weights


EpochCallback = Callable[[Epoch], None]  # called after each epoch; cannot influence training


@dataclass(frozen=True)
class TrainingState:
    """What training needs to continue after an epoch as if it had not been interrupted."""

    epoch: int  # the last finished one
    variables: Sequence[np.ndarray]  # of model and optimizer, and of the random generators of layers
    row_order: Mapping[str, Any]  # state of the generator that shuffles the rows
    augmentation: Mapping[str, Any] | None  # as it was chosen before the first epoch


class Checkpoint(Protocol):
    """Where the state of training is saved, so that it continues if its process is killed."""

    def load(self) -> TrainingState | None:
        """Return the saved state, or None if there is none for this training."""

    def save(self, epoch: Epoch, read_state: Callable[[], TrainingState]) -> None:
        """Save the state at the end of an epoch, unless it is too early; called after the epoch's callback."""


FEW_IMAGES = 20  # that are predicted without compiling a network and without starting workers


@dataclass(frozen=True)
class Target:
    """What a model predicts: one class of several, a probability for each label, or a number."""

    kind: TargetKind
    outputs: int  # classes or labels; 1 number

    @classmethod
    def of(cls, labels: np.ndarray, classes: np.ndarray) -> "Target":
        """The target of a dataset with these labels and classes."""
        return cls(target_kind(labels), len(classes))


class Predictor(Protocol):
    """A trained model, as returned by `ModelSpec.load`."""

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, outputs); numbers (rows, 1) if those are predicted."""


@runtime_checkable
class CompiledPredictor(Predictor, Protocol):
    """A predictor that is compiled when it predicts for the first time."""

    def predict_once(self, images: Images) -> np.ndarray:
        """The same as `predict_proba`, faster for a few images if the predictor is not used again."""


class Classifier(Predictor, Protocol):
    """A trainable model, as returned by `ModelSpec.build`."""

    @property
    def suffix(self) -> str:
        """Suffix of the file written by `save`."""

    @property
    def remark(self) -> str:
        """What the user should know about the fit; may be empty."""

    def fit(
        self, images: Images, labels: np.ndarray, on_epoch_end: EpochCallback, checkpoint: Checkpoint | None = None
    ) -> Self:
        """Train on these rows only, from the checkpoint on if it has a state; preprocessing is fitted here as well."""

    def save(self, path: Path) -> None:
        """Write the fitted model in a format that loads without executing code."""


@dataclass(frozen=True)
class ModelSpec:
    """How to build, load and tune a model; `recipe` is a frozen dataclass of its default hyperparameters.

    Numbers are predicted by a classifier of their bins (see `models.regression`), so the target is classes or labels.
    """

    build: Callable[[Any, int, tuple[int, ...], Target], Classifier]  # (recipe, seed, image shape, target)
    load: Callable[[Path, Target], Predictor]  # (file written by `save`, target)
    recipe: Any
    libraries: tuple[str, ...]  # their versions are part of the fingerprint
    search_space: "Callable[[BaseTrial], None]"  # suggests hyperparameters by name, such as augmentation.shift
    seconds: float  # approximate time for one fold of 33,600 rows: orders the tasks and gives the first time estimate
    inputs: Inputs = "images"  # the array of the Dataset that is passed to `fit` and `predict_proba`
    is_fine_tuned: bool = False  # whether training starts from the weights of EfficientNet-Lite0
    smallest_side: int = 1  # pixels of the longer side; smaller images are enlarged by a whole factor

    def enlargement(self, height: int, width: int) -> int:
        """The factor by which the model enlarges images of this size."""
        return -(-self.smallest_side // max(height, width))

    @property
    def is_network(self) -> bool:
        """Whether Keras trains the model, epoch by epoch."""
        return "keras" in self.libraries
