import signal
import subprocess
import sys

import pytest

from competition.cli.servers import wait_for_server
from competition.errors import UserError


def start(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program], start_new_session=True)


def test_a_server_that_fails_is_an_error():
    with pytest.raises(UserError, match="TensorBoard ended with exit status 3; its output above says why"):
        wait_for_server(start("raise SystemExit(3)"), "TensorBoard")


def test_ctrl_c_ends_a_server_and_is_no_error():
    server = start("import time; time.sleep(60)")
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        wait_for_server(server, "TensorBoard")
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert server.returncode == -signal.SIGTERM
