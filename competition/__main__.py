"""Run the command line: `python -m competition`, which is the same as `foldblend`."""

import sys

from competition.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
