"""The ingredients that predictions are made from; predictions made from others are never reused."""

from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from competition.crossval.folds import Folds
from competition.crossval.predictions import Ingredients
from competition.data.dataset import Dataset, require_features
from competition.models.backend import keras_backend
from competition.models.hyperparameters import describe_recipe
from competition.models.member import Member
from competition.models.registry import model_module
from competition.models.source import source_digest


def ingredients(member: Member, dataset: Dataset, folds: Folds) -> Ingredients:
    """Return everything that determines the member's predictions: data, split, recipe, source and library versions."""
    inputs = {"data": dataset.digest, "split": folds.digest}
    if member.is_imported:
        return inputs
    if member.uses_features:
        inputs["features"] = require_features(dataset).digest
    return inputs | member_ingredients(member)


def member_ingredients(member: Member) -> Ingredients:
    """Return the ingredients of the member alone, without data and split."""
    libraries = member.spec.libraries
    made_of = {
        "recipe": describe_recipe(member.recipe),
        "seed": str(member.seed),
        "source": source_digest(model_module(member.model)),
    }
    if member.variant:  # which may differ in more than the recipe
        made_of["variant"] = member.variant
    if "keras" in libraries:
        made_of["backend"] = keras_backend()
        libraries += (made_of["backend"],)
    return made_of | {library: installed_version(library) for library in libraries}


@cache
def installed_version(library: str) -> str:
    """The version of a library, also if it is installed under another name, such as tensorflow-cpu."""
    try:
        return version(library)
    except PackageNotFoundError:
        distributions = packages_distributions().get(library, [])
        return " ".join(f"{name} {version(name)}" for name in sorted(set(distributions))) or "unknown"
