"""A recipe's settings by their names, and those that tuning adopted, in folds/<competition>/parameters/."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from competition.data.config import Rules
from competition.errors import Problem
from competition.files import write_whole
from competition.models.member import Member

Settings = dict[str, Any]


def settings(recipe: Any) -> Settings:
    """Every setting by its name; those of a part, such as the warp, stand behind its name and a dot."""
    found: Settings = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            found |= {f"{field.name}.{name}": inner for name, inner in settings(value).items()}
        else:
            found[field.name] = value
    return found


def with_settings(recipe: Any, changes: Mapping[str, Any]) -> Any:
    """The recipe with these settings instead of its own."""
    own: Settings = {}
    for name, value in changes.items():
        part, _, inner = name.partition(".")
        own[part] = with_settings(own.get(part, getattr(recipe, part)), {inner: value}) if inner else value
    return replace(recipe, **own)


def path_of(folder: Path, member: Member) -> Path:
    """Where the model's adopted parameters lie, under the competition's folder of folds; all its seeds share them."""
    return folder / "parameters" / f"{member.kind}.json"


def adopted(folder: Path, member: Member) -> Member:
    """The member with the settings that tuning adopted for it, if it did."""
    path = path_of(folder, member)
    if member.imported or not path.exists():
        return member
    try:
        return replace(member, recipe=with_settings(member.recipe, json.loads(path.read_text())["settings"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(
            f"{path} holds no settings of {member.kind} ({error}); remove it, or run `make tune MODELS={member.kind}`"
        ) from None


def ruled(member: Member, rules: Rules) -> Member:
    """The member, changing its images only in ways and as far as the competition's rules allow, if they tell."""
    warp = getattr(member.recipe, "warp", None)
    if warp is None:
        return member
    told: Settings = {name: most for name, most in rules.limits.items() if most < getattr(warp, name)}
    if rules.symmetries is not None:
        told["symmetries"] = rules.symmetries
    return replace(member, recipe=replace(member.recipe, warp=replace(warp, **told))) if told else member


def adopt(folder: Path, member: Member, evidence: Mapping[str, Any]) -> Path:
    """Keep the evidence's settings for the next cross-validation, with all that speaks for them."""
    path = path_of(folder, member)
    write_whole(path, json.dumps(evidence, indent=1).encode() + b"\n")
    return path


def readable(recipe: Any) -> str:
    """A recipe's settings in words that are the same in every process: functions by their names."""
    if hasattr(recipe, "__dataclass_fields__"):
        settings = (f"{name}={readable(getattr(recipe, name))}" for name in recipe.__dataclass_fields__)
        return f"{type(recipe).__name__}({', '.join(settings)})"
    return recipe.__name__ if callable(recipe) else repr(recipe)
