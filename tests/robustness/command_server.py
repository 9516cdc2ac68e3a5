"""Run commands in forked processes, which need not load the libraries again.

Each line of the standard input is a request in JSON. The command stops before it starts, so that it can be traced; the
answer is its process id and, in a second line, its exit status, negative after a signal.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile

import competition
from competition.cli.app import main
from competition.tuning import driver, storage

UNUSED = ("competition.models.networks", "competition.models.pretrained", "competition.deploy", "competition.__main__")
PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, ctypes.c_ulong(-1)


def load_libraries() -> None:
    """Import the package, except for what would import TensorFlow."""
    for module in pkgutil.walk_packages(competition.__path__, "competition."):
        if not module.name.startswith(UNUSED):
            importlib.import_module(module.name)
    assert "tensorflow" not in sys.modules


def run_command(folder: str, temporary: str, output: str, arguments: list[str]) -> int:
    """Run the command in this process, after SIGCONT."""
    os.setsid()
    os.chdir(folder)
    os.environ["TMPDIR"], tempfile.tempdir = temporary, None
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY_PROCESS)  # where only parents may trace
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGSTOP)
    return main(arguments)


if __name__ == "__main__":
    load_libraries()
    # A search waits for as long until it takes over the trial of a killed one.
    storage.HEARTBEAT_SECONDS = driver.HEARTBEAT_SECONDS = 1
    storage.STALE_SECONDS = 2
    for request in sys.stdin:
        process = os.fork()
        if not process:
            sys.exit(run_command(**json.loads(request)))
        os.waitpid(process, os.WUNTRACED)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
