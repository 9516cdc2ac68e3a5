"""A progress bar on the terminal."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def show_progress(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over the items, with a progress bar if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description, console=console, transient=True, disable=not console.is_terminal)
