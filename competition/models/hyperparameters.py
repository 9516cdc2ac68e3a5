"""Hyperparameters of recipes by name, and the tuned ones stored in folds/<competition>/parameters/."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from competition.data.config import Config
from competition.errors import UserError
from competition.files import write_atomically
from competition.models.member import Member

Hyperparameters = dict[str, Any]


def get_hyperparameters(recipe: Any) -> Hyperparameters:
    """Return all hyperparameters by name; those of nested dataclasses get a prefix, such as `augmentation.shift`."""
    parameters: Hyperparameters = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            parameters |= {f"{field.name}.{name}": nested for name, nested in get_hyperparameters(value).items()}
        else:
            parameters[field.name] = value
    return parameters


def replace_hyperparameters(recipe: Any, changes: Mapping[str, Any]) -> Any:
    """Return a copy of the recipe with these hyperparameters changed; names as in `get_hyperparameters`."""
    replaced: Hyperparameters = {}
    for name, value in changes.items():
        field, _, nested = name.partition(".")
        if nested:
            replaced[field] = replace_hyperparameters(replaced.get(field, getattr(recipe, field)), {nested: value})
        else:
            replaced[field] = value
    return replace(recipe, **replaced)


def tuned_path(folder: Path, member: Member) -> Path:
    """Path of the model's tuned hyperparameters in a competition's folder of folds; all seeds share it."""
    return folder / "parameters" / f"{member.kind}.json"


def with_tuned(folder: Path, member: Member) -> Member:
    """Return the member with its tuned hyperparameters, if there are any."""
    path = tuned_path(folder, member)
    if member.is_imported or not path.exists():
        return member
    try:
        tuned = json.loads(path.read_text())["hyperparameters"]
        return replace(member, recipe=replace_hyperparameters(member.recipe, tuned))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"delete it to use the defaults: {shlex.join(['rm', str(path)])}"
        raise UserError(f"invalid hyperparameter file {path} ({error}); {remedy}") from None


def apply_config(member: Member, config: Config) -> Member:
    """Return the member with its augmentation and length of training as competition.toml sets them."""
    if member.spec.is_network and config.length != 1:
        epochs, min_steps = (round(config.length * count) for count in (member.recipe.epochs, member.recipe.min_steps))
        member = replace(member, recipe=replace(member.recipe, epochs=max(1, epochs), min_steps=min_steps))
    return configure_augmentation(member, config)


def configure_augmentation(member: Member, config: Config) -> Member:
    """Return the member with its augmentation as competition.toml sets it; doing so twice changes nothing."""
    if member.uses_features and config.symmetries is not None:
        return replace(member, recipe=replace(member.recipe, mirrored="left-right" in config.symmetries))
    augmentation = getattr(member.recipe, "augmentation", None)
    if augmentation is None:
        return member
    changes: Hyperparameters = {
        name: limit for name, limit in config.limits.items() if limit < getattr(augmentation, name)
    }
    if config.symmetries is not None:
        changes["symmetries"] = config.symmetries
    if config.augmentation is not None:
        changes["strength"] = config.augmentation
    if not changes:
        return member
    return replace(member, recipe=replace(member.recipe, augmentation=replace(augmentation, **changes)))


def save_tuned(folder: Path, member: Member, evidence: Mapping[str, Any]) -> Path:
    """Write the tuned hyperparameters and the validation results that support them, for future cross-validation."""
    path = tuned_path(folder, member)
    write_atomically(path, json.dumps(evidence, indent=1).encode() + b"\n")
    return path


def describe_recipe(recipe: Any) -> str:
    """Return a text of the recipe that is the same in every process; functions appear by name."""
    if is_dataclass(recipe):
        values = (f"{field.name}={describe_recipe(getattr(recipe, field.name))}" for field in fields(recipe))
        return f"{type(recipe).__name__}({', '.join(values)})"
    return recipe.__name__ if callable(recipe) else repr(recipe)
