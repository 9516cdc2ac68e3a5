"""The terminal itself."""

import sys

from rich.console import Console

WIDE = 120  # columns of a log, where there is no terminal to ask

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
