"""A model with its recipe and seed."""

import re
from dataclasses import dataclass
from typing import Any

from competition.errors import Problem
from competition.models.interface import ModelSpec
from competition.models.registry import load

GREY, DESCRIBED = 4, 9_000  # bytes of a grey pixel, and of an image's directions of edges, in the pipelines
USUAL_ROWS = 33_600  # the training rows to which a model's usual seconds refer
IMPORTED = re.compile(r"@[\w-]{1,60}")
GRAMMAR = re.compile(r"([a-z]\w*)(?::([a-z]\w*))?(?:\.([1-9]\d{0,8}))?")


def _made_elsewhere(*what: Any) -> Any:
    raise Problem("predictions that were imported have no model here")


ELSEWHERE = ModelSpec(_made_elsewhere, _made_elsewhere, None, libraries=(), search=_made_elsewhere, seconds=0)


@dataclass(frozen=True)
class Member:
    """A model with its recipe and seed, as one types it: `quick`, `quick.3` for seed 3, `vgg:tutorial`.

    `@theirs` has no model here: its predictions were imported.
    """

    name: str
    model: str
    variant: str | None
    seed: int
    recipe: Any

    @classmethod
    def named(cls, name: str) -> "Member":
        """The member of this name; a bare model's seed is 0."""
        if IMPORTED.fullmatch(name):
            return cls(name, name, None, 0, None)
        parts = GRAMMAR.fullmatch(name)
        if not parts:
            raise Problem(f"{name!r} is no member; write a model and, if you like, a seed: quick or quick.1")
        model, variant, seed = parts.groups()
        return cls(name, model, variant, int(seed or 0), load(model, variant).recipe)

    @property
    def kind(self) -> str:
        """Its name without the seed."""
        return f"{self.model}:{self.variant}" if self.variant else self.model

    def seconds(self, rows: int | float) -> float:
        """What it takes to be taught by so many rows, roughly, on the usual machine."""
        if self.spec.is_network:
            rows = max(rows, self.recipe.least_rows)
        return self.spec.seconds * rows / USUAL_ROWS

    def memory(self, rows: float, shape: tuple[int, ...]) -> float:
        """Bytes that it holds of so many rows that teach it; networks read their batches from disk."""
        if self.spec.is_network or self.imported:
            return 0.0
        height, width, channels = shape
        return rows * (height * width * (channels + GREY) + DESCRIBED)

    @property
    def imported(self) -> bool:
        """Whether others made its predictions."""
        return self.name.startswith("@")

    @property
    def spec(self) -> ModelSpec:
        """How it is built."""
        return ELSEWHERE if self.imported else load(self.model, self.variant)
