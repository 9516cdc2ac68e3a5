"""Run a module, as `python -m` does, in a child process that exits soon after its parent does, even if that is killed.

The parent keeps the other end of the child's standard input open; usage:
`python -m competition.workers.dependent dask scheduler`.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from typing import Any

GRACE_SECONDS = 10.0  # for the module to shut down cleanly, before it is stopped


def start_dependent(module: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a module in a process that depends on this one; the options are those of `subprocess.Popen`."""
    command = [sys.executable, "-m", __name__, module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def _end_with_parent() -> None:
    """Wait for the end of the standard input, then end this process as on SIGTERM, if necessary by force."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
