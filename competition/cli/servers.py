"""Servers that run until Ctrl-C."""

import subprocess
from typing import Any

from competition.errors import UserError


def wait_for_server(process: "subprocess.Popen[Any]", name: str) -> None:
    """Wait until the server ends, usually by Ctrl-C; raise `UserError` if it fails.

    It needs a session of its own, so that Ctrl-C reaches only this process and the server shuts down cleanly.
    """
    try:
        status = process.wait()
    except KeyboardInterrupt:
        return
    finally:
        process.terminate()
        process.wait()
    if status:
        raise UserError(f"{name} ended with exit status {status}; its output above says why")
