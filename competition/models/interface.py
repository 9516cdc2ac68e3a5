"""What every model offers, whatever it is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


class Images(Protocol):
    """What models are taught by and asked of: (rows, height, width, channels) of bytes, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, height, width and channels."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any) -> np.ndarray: ...


class Rows:
    """Some rows of an array, which are read when they are asked for: more than the memory holds, if need be."""

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array = array
        self.rows = np.flatnonzero(rows) if rows.dtype == bool else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array has it."""
        return len(self.rows), *self.array.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> np.ndarray:
        return self.array[self.rows[which]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array[self.rows], dtype)


@dataclass(frozen=True)
class Epoch:
    """Where a training stands at the end of an epoch."""

    done: int
    of: int
    loss: float  # mean of the epoch's batches
    images_per_second: float
    predict_proba: Callable[[Images], np.ndarray]  # by what is learned so far


Observer = Callable[[Epoch], None]  # hears of each epoch and never steers


class Predictor(Protocol):
    """What a model's `load` returns."""

    def predict_proba(self, images: Images) -> np.ndarray:
        """Probabilities (rows, classes)."""


class Classifier(Predictor, Protocol):
    """What a model's `build` returns."""

    suffix: str  # of the file that `save` writes
    remark: str  # what `fit` found out and the user should know, or nothing

    def fit(self, images: Images, labels: np.ndarray, observer: Observer) -> Self:
        """Learn; whatever is fitted is fitted in here."""

    def save(self, path: Path) -> None:
        """Keep what was learned in a form that loads without running foreign code."""


@dataclass(frozen=True)
class ModelSpec:
    """How to build a model, and by which recipe: a frozen dataclass of the model's own."""

    build: Callable[[Any, int, tuple[int, ...], int], Classifier]  # (recipe, seed, image shape, number of classes)
    load: Callable[[Path, int], Predictor]  # (what `save` wrote, number of classes)
    recipe: Any
    libraries: tuple[str, ...]  # whose versions the result depends on
    search: "Callable[[BaseTrial], None]"  # asks a trial for settings of the recipe by their names, such as warp.shift
    seconds: float  # for one fold of 33,600 rows, roughly: it orders the models and gives a first time to go

    @property
    def is_network(self) -> bool:
        """Whether Keras trains it, epoch by epoch."""
        return "keras" in self.libraries
