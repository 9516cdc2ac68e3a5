"""What made a prediction, so that nothing made otherwise is ever taken for it."""

import hashlib
import json
from importlib.metadata import version

from competition.crossval.folds import Folds
from competition.data.dataset import Dataset
from competition.models.hyperparameters import readable
from competition.models.member import Member
from competition.models.source import keras_backend, source_digest

Ingredients = dict[str, str]


def ingredients(member: Member, dataset: Dataset, folds: Folds) -> Ingredients:
    """Everything that decides what the member predicts, a line each."""
    given = {"data": dataset.digest, "split": folds.digest}
    return given if member.imported else given | ingredients_of(member)


def ingredients_of(member: Member) -> Ingredients:
    """What is the member's own among them, whatever rows it is taught by."""
    libraries = member.spec.libraries
    made_of = {
        "recipe": readable(member.recipe),
        "seed": str(member.seed),
        "source": source_digest(f"competition.models.{member.model}"),
    }
    if "keras" in libraries:
        made_of["backend"] = keras_backend()
        libraries += (made_of["backend"],)
    return made_of | {library: version(library) for library in libraries}


def fingerprint(made_of: Ingredients) -> str:
    """One digest for all ingredients."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
