"""What the user can mend, and how it is told in one line."""

from collections.abc import Iterable


class Problem(Exception):
    """Wrong input or state, told in one line: the place, what is wrong and the command that mends it."""


def first(names: Iterable[object], most: int) -> str:
    """The first names, as many as `most`, and dots where there are more."""
    told = [str(name) for name in names]
    return ", ".join(told[:most]) + (" ..." if len(told) > most else "")
