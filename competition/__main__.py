"""Run the command line: `python -m competition`."""

import sys

from competition.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
