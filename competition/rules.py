"""What the files of a competition do not tell, or tell wrongly: a small file beside them, `competition.toml`.

    label = "diagnosis"     # the column of train.csv to predict
    id = "image"            # the column that names the rows
    group = "patient"       # a column whose rows of one value are held out together
    shape = [32, 24, 3]     # height, width and channels of an image

Each line may be left out: label and id are inferred from the columns, the shape from their number.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from competition.problem import Problem

FILE = "competition.toml"


@dataclass(frozen=True)
class Rules:
    """What the user tells; what is empty is inferred."""

    label: str = ""
    id: str = ""
    group: str = ""
    shape: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The same for the same rules, and empty where there are none."""
        return ", ".join(f"{name} = {value!r}" for name, value in asdict(self).items() if value)


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
        raise Problem(f"{path}: nothing is known of {unknown[0]}; it may tell {', '.join(known)}")
    return Rules(**{name: _checked(path, name, value) for name, value in told.items()})


def _checked(path: Path, name: str, value: Any) -> Any:
    if name != "shape":
        if isinstance(value, str) and value:
            return value
        raise Problem(f'{path}: {name} is {value!r}; a column was expected, such as {name} = "name"')
    if isinstance(value, list) and all(type(side) is int and side > 0 for side in value) and len(value) in (2, 3):
        shape = (*value, 1)[:3]
        if shape[2] in (1, 3):
            return shape
    raise Problem(f"{path}: shape is {value!r}; height, width and channels were expected, such as shape = [32, 24, 3]")
