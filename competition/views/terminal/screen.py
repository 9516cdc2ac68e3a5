"""The console that all commands print to."""

import sys

from rich.console import Console

LOG_WIDTH = 120  # columns if the output is not a terminal

console = Console(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else LOG_WIDTH)
