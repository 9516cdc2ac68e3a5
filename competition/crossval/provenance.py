"""What predictions were made from: data, split, recipe, source and versions; if it differs, they are not reused."""

from competition.crossval.folds import Folds
from competition.crossval.predictions import Provenance
from competition.data.dataset import Dataset, require_features
from competition.models.backend import keras_backend
from competition.models.hyperparameters import describe_recipe
from competition.models.libraries import installed_version
from competition.models.member import Member
from competition.models.registry import model_module
from competition.models.source import source_digest


def provenance_of(member: Member, dataset: Dataset, folds: Folds) -> Provenance:
    """Return everything that determines the member's predictions: data, split, recipe, source and library versions."""
    inputs = {"data": dataset.digest, "split": folds.digest}
    if member.is_imported:
        return inputs
    if member.uses_features:
        inputs["features"] = require_features(dataset).digest
    return inputs | member_provenance(member)


def member_provenance(member: Member) -> Provenance:
    """Return the part that depends only on the member, without data and split."""
    libraries = member.spec.libraries
    provenance = {
        "recipe": describe_recipe(member.recipe),
        "seed": str(member.seed),
        "source": source_digest(model_module(member.model)),
    }
    if member.variant:  # which may differ in more than the recipe
        provenance["variant"] = member.variant
    if "keras" in libraries:
        provenance["backend"] = keras_backend()
        libraries += (provenance["backend"],)
    return provenance | {library: installed_version(library) for library in libraries}
