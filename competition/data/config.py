"""What the files of a competition do not tell, or tell wrongly: a small file beside them, `competition.toml`.

    label = "diagnosis"     # the column of train.csv to predict
    id = "image"            # the column that names the rows, where it is called otherwise than in the sample
    group = "patient"       # a column whose rows of one value are held out together
    shape = [32, 24, 3]     # height, width and channels of an image
    symmetries = []         # what leaves a class as it is, of "left-right", "upside-down" and "quarter turns"
    limits = {rotation = 0} # beyond which a change may make another class of an image: rotation, shift, zoom, shear
    metric = "macro F1"     # accuracy, log loss, AUC, macro F1, QWK, or your own, module:function
    answer = "labels"       # what is submitted: "labels" or "probabilities"
    public = 0.3            # the share of the test rows that the leaderboard scores

Each line may be left out: label and id are inferred from the columns, the shape from their number, the answer from the
sample submission; which symmetries help is found out in each training, and the metric is accuracy.
"""

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from competition.data.augmentation import SYMMETRIES, Symmetry, Warp
from competition.errors import Problem

Answer = Literal["labels", "probabilities"]

FILE = "competition.toml"
AFTERWARDS = ("symmetries", "limits", "metric", "answer", "public")  # they change no data
LIMITED = tuple(one.name for one in fields(Warp) if one.name != "symmetries")


@dataclass(frozen=True)
class Rules:
    """What the user tells; what is empty is inferred."""

    label: str = ""
    id: str = ""
    group: str = ""
    shape: tuple[int, ...] = ()
    symmetries: tuple[Symmetry, ...] | None = None
    limits: dict[str, float] = field(default_factory=dict)
    metric: str = "accuracy"
    answer: Answer | None = None
    public: float = 1.0

    @property
    def text(self) -> str:
        """What changes the data: the same for the same rules, and empty where there are none."""
        told = {name: value for name, value in asdict(self).items() if value and name not in AFTERWARDS}
        return ", ".join(f"{name} = {value!r}" for name, value in told.items())


def read(folder: Path) -> Rules:
    """The rules that lie beside the competition's files, or those of a competition without any."""
    path = folder / FILE
    if not path.exists():
        return Rules()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from None
    known = [field.name for field in fields(Rules)]
    if unknown := [name for name in told if name not in known]:
        raise Problem(f"{path}: {unknown[0]} is unknown; there are {', '.join(known)}")
    checks: dict[str, Callable[[str, Any], Any]] = {
        "shape": _shape,
        "symmetries": _symmetries,
        "limits": _limits,
        "metric": _metric,
        "answer": _answer,
        "public": _share,
    }
    try:
        return Rules(**{name: checks.get(name, _column)(name, value) for name, value in told.items()})
    except ValueError as error:
        raise Problem(f"{path}: {error}") from None


def _column(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f'{name} is {value!r}; a column was expected, such as {name} = "name"')


def _metric(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f'{name} is {value!r}; a metric was expected, such as {name} = "macro F1"')


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(side) is int and side > 0 for side in value) and len(value) in (2, 3):
        shape = (*value, 1)[:3]
        if shape[2] in (1, 3):
            return shape
    raise ValueError(f"{name} is {value!r}; height, width and channels were expected, such as {name} = [32, 24, 3]")


def _symmetries(name: str, value: Any) -> tuple[Symmetry, ...]:
    if isinstance(value, list) and all(one in SYMMETRIES for one in value):
        return tuple(one for one in SYMMETRIES if one in value)
    choice = ", ".join(f'"{one}"' for one in SYMMETRIES)
    raise ValueError(f"{name} is {value!r}; a list was expected, empty or of {choice}")


def _limits(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict) and all(one in LIMITED and _is_limit(most) for one, most in value.items()):
        return value
    choice = ", ".join(LIMITED)
    raise ValueError(
        f"{name} is {value!r}; numbers from 0 were expected of {choice}, such as {name} = {{rotation = 0}}"
    )


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _answer(name: str, value: Any) -> Answer:
    for answer in get_args(Answer):
        if value == answer:
            return answer
    raise ValueError(f'{name} is {value!r}; "labels" or "probabilities" was expected')


def _share(name: str, value: Any) -> float:
    if _is_limit(value) and 0 < value <= 1:
        return float(value)
    raise ValueError(f"{name} is {value!r}; a share above 0 and up to 1 was expected, such as {name} = 0.3")
