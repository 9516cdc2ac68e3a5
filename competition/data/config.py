"""Read `competition.toml`, which lies next to the competition's files and overrides what is inferred from them.

    label = "diagnosis"     # the column of train.csv to predict
    id = "image"            # the column of row ids, if it is named differently than in the sample submission
    group = "patient"       # rows with the same value in this column are held out together; false: no groups
    target = "number"       # what is predicted: a "class", several "labels" or a "number"
    extra = ["more.csv"]    # further tables of training rows, with the columns of train.csv
    size = 96               # image files are resized to the area of a square of this side
    shape = [32, 24, 3]     # height, width and channels of an image
    symmetries = []         # symmetries that preserve the label: "left-right", "upside-down", "quarter turns"
    limits = {rotation = 0} # limits of label-preserving augmentation: rotation, shift, zoom, shear
    augmentation = 0.5      # strength of these four: 0 for none, 1 for that of the model's recipe
    length = 2              # networks train for this multiple of the epochs in their recipe
    metric = "macro F1"     # accuracy, log loss, AUC, mean column AUC, macro F1, micro F1, sample F1, macro recall,
                            # QWK, MAP@5, RMSE, MAE, or your own as module:function
    submission = "labels"   # what the submission contains: "labels", "probabilities", "ranked" or "number"
    public = 0.3            # the fraction of test rows that the public leaderboard scores
    pretrained = false      # whether models learn from the features of a pretrained network; or which one, by its name
                            # in keras.applications: "EfficientNetV2B0"; or a table [pretrained] as in PretrainedNetwork

Every line is optional: without it, the value is inferred from the files and printed; symmetries and the strength of
augmentation are measured in training.
"""

import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from competition.data.augmentation import LIMITS, SYMMETRIES, Symmetry
from competition.data.targets import TargetKind
from competition.errors import UserError

SubmissionContent = Literal["labels", "probabilities", "ranked", "number"]

CONFIG_FILE = "competition.toml"
MIN_SIZE = 8
# These leave the Dataset unchanged.
NOT_DATA = ("symmetries", "limits", "augmentation", "length", "pretrained", "metric", "submission", "public")


@dataclass(frozen=True)
class PretrainedNetwork:
    """The table [pretrained] of competition.toml: the network whose features models learn from."""

    model: str = ""  # of keras.applications
    weights: str = ""  # a file in the competition's folder: of the model, by default downloaded; or an ONNX network
    size: int = 0  # of the square images; 0: the network's own
    scale: float = 0.0  # of an ONNX network: its pixels are (pixels / scale - mean) / std; 0: 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Config:
    """The settings in competition.toml; empty ones are inferred."""

    label: str = ""
    id: str = ""
    group: str | Literal[False] = ""
    target: TargetKind | Literal[""] = ""
    extra: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    size: int = 0
    symmetries: tuple[Symmetry, ...] | None = None
    limits: dict[str, float] = field(default_factory=dict)
    augmentation: float | None = None
    length: float = 1.0
    metric: str = ""
    submission: SubmissionContent | None = None
    public: float = 1.0
    pretrained: bool | PretrainedNetwork | None = None

    @property
    def data_settings(self) -> str:
        """The settings that change the Dataset, as text for its digest."""
        settings = {
            name: value for name, value in asdict(self).items() if (value or value is False) and name not in NOT_DATA
        }
        return ", ".join(f"{name} = {value!r}" for name, value in settings.items())


def read_config(folder: Path) -> Config:
    """The configuration of the competition in `folder`, or the defaults if it has no competition.toml."""
    path = folder / CONFIG_FILE
    if not path.exists():
        return Config()
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits, and deep nesting
        raise UserError(f"cannot read {path}: {error}") from None
    known = [field.name for field in fields(Config)]
    if unknown := [name for name in settings if name not in known]:
        raise UserError(f"{path}: unknown key {unknown[0]}; choose from {', '.join(known)}")
    parsers: dict[str, Callable[[str, Any], Any]] = {
        "group": _parse_group,
        "target": _parse_choice(TargetKind),
        "extra": _parse_files,
        "shape": _parse_shape,
        "size": _parse_size,
        "symmetries": _parse_symmetries,
        "limits": _parse_limits,
        "augmentation": _parse_strength,
        "length": _parse_positive(2),
        "pretrained": _parse_pretrained,
        "submission": _parse_choice(SubmissionContent),
        "public": _parse_fraction,
    }
    try:
        return Config(**{name: parsers.get(name, _parse_text)(name, value) for name, value in settings.items()})
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _parse_text(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    expected, example = ("a metric", "macro F1") if name == "metric" else ("a column name", "name")
    raise ValueError(f'{name}: expected {expected}, e.g. {name} = "{example}", got {value!r}')


def _parse_group(name: str, value: Any) -> str | bool:
    return value if value is False else _parse_text(name, value)


def _parse_choice(choices: Any) -> Callable[[str, Any], Any]:
    """A parser of one of the texts of a Literal."""

    def parse(name: str, value: Any) -> Any:
        if isinstance(value, str) and value in get_args(choices):
            return value
        shown = ", ".join(f'"{choice}"' for choice in get_args(choices))
        raise ValueError(f"{name}: expected one of {shown}, got {value!r}")

    return parse


def _parse_files(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(file, str) and file for file in value):
        return tuple(value)
    raise ValueError(f'{name}: expected a list of file names, e.g. {name} = ["more.csv"], got {value!r}')


def _parse_size(name: str, value: Any) -> int:
    if type(value) is int and value >= MIN_SIZE:
        return value
    raise ValueError(f"{name}: expected a number of pixels from {MIN_SIZE}, e.g. {name} = 96, got {value!r}")


def _parse_shape(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(side) is int and side > 0 for side in value) and len(value) in (2, 3):
        shape = (*value, 1)[:3]
        if shape[2] in (1, 3):
            return shape
    raise ValueError(f"{name}: expected height, width and channels (1 or 3), e.g. {name} = [32, 24, 3], got {value!r}")


def _parse_symmetries(name: str, value: Any) -> tuple[Symmetry, ...]:
    if isinstance(value, list) and all(symmetry in SYMMETRIES for symmetry in value):
        return tuple(symmetry for symmetry in SYMMETRIES if symmetry in value)
    choices = ", ".join(f'"{symmetry}"' for symmetry in SYMMETRIES)
    raise ValueError(f"{name}: expected a list of any of {choices}, got {value!r}")


def _parse_limits(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict) and all(limit in LIMITS and _is_limit(number) for limit, number in value.items()):
        return value
    choices = ", ".join(LIMITS)
    raise ValueError(
        f"{name}: expected numbers >= 0 for any of {choices}, e.g. {name} = {{rotation = 0}}, got {value!r}"
    )


def _parse_strength(name: str, value: Any) -> float:
    if _is_limit(value):
        return float(value)
    raise ValueError(f"{name}: expected a number >= 0, e.g. {name} = 0.5, got {value!r}")


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _parse_pretrained(name: str, value: Any) -> bool | PretrainedNetwork:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value:
        return PretrainedNetwork(value)
    known = [field.name for field in fields(PretrainedNetwork)]
    if not isinstance(value, dict) or not value or not value.keys() <= set(known):
        raise ValueError(
            f'{name}: expected true, false, the name of a network, e.g. {name} = "EfficientNetV2B0", '
            f"or a table [{name}] with any of {', '.join(known)}, got {value!r}"
        )
    parsers: dict[str, Callable[[str, Any], Any]] = {
        "model": _parse_file,
        "weights": _parse_file,
        "size": _parse_size,
        "scale": _parse_positive(255),
        "mean": _parse_channels,
        "std": _parse_channels,
    }
    return PretrainedNetwork(**{key: parsers[key](f"{name}.{key}", each) for key, each in value.items()})


def _parse_file(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{name}: expected a name, got {value!r}")


def _parse_positive(example: int) -> Callable[[str, Any], float]:
    """A parser of a number above 0."""

    def parse(name: str, value: Any) -> float:
        if _is_limit(value) and 0 < value < math.inf:
            return float(value)
        raise ValueError(f"{name}: expected a number above 0, e.g. {name} = {example}, got {value!r}")

    return parse


def _parse_channels(name: str, value: Any) -> tuple[float, ...]:
    is_valid = isinstance(value, list) and len(value) == 3 and all(_is_limit(number) for number in value)
    if is_valid and (name.endswith("mean") or all(value)):
        return tuple(float(number) for number in value)
    raise ValueError(f"{name}: expected three numbers, for red, green and blue, got {value!r}")


def _parse_fraction(name: str, value: Any) -> float:
    if _is_limit(value) and 0 < value <= 1:
        return float(value)
    raise ValueError(f"{name}: expected a fraction above 0 and at most 1, e.g. {name} = 0.3, got {value!r}")
