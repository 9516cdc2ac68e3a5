"""Ensemble members: a model with its recipe and seed."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from competition.errors import UserError
from competition.models.interface import ModelSpec
from competition.models.registry import load_spec

PRETRAINED_BYTES_PER_VALUE = 24  # float16, the mean over views in float32, scaled copies
COLUMN_BYTES_PER_VALUE = 40  # float32, then imputed and scaled float64 copies, and indicators of missing values
GREY_BYTES_PER_PIXEL = 4  # the float32 grey image of the scikit-learn pipelines
FEATURE_BYTES_PER_IMAGE = 9_000  # their histograms of oriented gradients
REFERENCE_ROWS = 33_600  # the number of training rows to which `ModelSpec.seconds` refers
REFERENCE_PIXELS = 28 * 28  # and their size
IMPORTED_NAME = re.compile(r"@[\w-]{1,60}")
MEMBER_NAME = re.compile(r"([a-z][\w-]*)(?::([a-z]\w*))?(?:\.([1-9]\d{0,8}))?")


@cache
def _imported_spec(name: str) -> ModelSpec:
    """The spec of imported predictions, which have no model."""

    def reject(*arguments: Any) -> NoReturn:
        raise UserError(f"{name} was imported as predictions only and has no model to train or tune; omit it")

    return ModelSpec(reject, reject, None, libraries=(), search_space=reject, seconds=0)


@dataclass(frozen=True)
class Member:
    """A model with its recipe and seed, named as on the command line: `quick`, `quick.3` for seed 3, `vgg:tutorial`.

    `@name` stands for imported predictions, which have no model here.
    """

    name: str
    model: str
    variant: str | None
    seed: int
    recipe: Any

    @classmethod
    def parse(cls, name: str) -> "Member":
        """Parse a member's name; the seed defaults to 0."""
        if IMPORTED_NAME.fullmatch(name):
            return cls(name, name, None, 0, None)
        match = MEMBER_NAME.fullmatch(name)
        if not match:
            raise UserError(f"invalid member {name!r}; use a model name and optionally a seed, e.g. quick or quick.1")
        model, variant, seed = match.groups()
        return cls(name, model, variant, int(seed or 0), load_spec(model, variant).recipe)

    @classmethod
    def imported(cls, name: str) -> "Member":
        """The member @name of imported predictions."""
        if not IMPORTED_NAME.fullmatch(f"@{name}"):
            raise UserError(f"invalid name {name!r}; use letters, digits, _ and -, at most 60 of them")
        return cls.parse(f"@{name}")

    @property
    def kind(self) -> str:
        """The name without the seed."""
        return f"{self.model}:{self.variant}" if self.variant else self.model

    def training_seconds(self, rows: int | float, shape: tuple[int, ...]) -> float:
        """Approximate time to train on this many rows, whose images have this shape, on the reference machine."""
        seconds = self.spec.seconds * rows / REFERENCE_ROWS
        if not self.spec.is_network:
            return seconds
        length = self.recipe.epochs / self.spec.recipe.epochs * max(1, self.recipe.min_rows / rows)
        height, width = shape[:2]
        return seconds * length * height * width * self.spec.enlargement(height, width) ** 2 / REFERENCE_PIXELS

    def training_memory(self, rows: float, shape: tuple[int, ...]) -> float:
        """Bytes needed to hold this many training rows, whose inputs have this shape.

        0 for most networks, which read batches from disk.
        """
        if self.uses_columns:
            return rows * shape[0] * COLUMN_BYTES_PER_VALUE
        if self.uses_features:
            return rows * shape[1] * PRETRAINED_BYTES_PER_VALUE
        height, width, channels = shape
        if self.spec.is_network:
            return rows * height * width if self.recipe.deskew else 0.0
        if self.is_imported:
            return 0.0
        copies = 2 if channels == 1 else 1  # dark glyphs on white are inverted
        return rows * (height * width * (copies * channels + GREY_BYTES_PER_PIXEL) + FEATURE_BYTES_PER_IMAGE)

    @property
    def uses_columns(self) -> bool:
        """Whether the model learns from the columns alongside the images instead of the images."""
        return self.spec.inputs == "columns"

    @property
    def uses_features(self) -> bool:
        """Whether the model learns from the features of a pretrained network instead of the images."""
        return self.spec.inputs == "features"

    @property
    def needs_pretrained(self) -> bool:
        """Whether the model learns from a pretrained network or fine-tunes it."""
        return self.uses_features or self.spec.is_fine_tuned

    @property
    def is_imported(self) -> bool:
        """Whether the predictions were imported rather than made here."""
        return self.name.startswith("@")

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return _imported_spec(self.name) if self.is_imported else load_spec(self.model, self.variant)
