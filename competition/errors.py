"""The error that the user can fix, and a helper for its messages."""

from collections.abc import Iterable


class UserError(Exception):
    """Invalid input or state that the user can fix; one line: where, what is wrong and the command that fixes it."""


def shorten_list(names: Iterable[object], limit: int) -> str:
    """Join the first `limit` names by commas, with an ellipsis if there are more."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:limit]) + (" ..." if len(texts) > limit else "")
